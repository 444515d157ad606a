"""Runs of several processes: one that is killed, or more and fewer of them, change nothing but the last bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from seqtrain.assemble import build_criterion, build_model
from seqtrain.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.randomness import seed_everything
from seqtrain.training.reduction import DataParallel
from seqtrain.training.step import TrainableModule
from tests.faults import corpus
from tests.faults.plugin import Figures, Size
from tests.faults.ranks import ranks_of, start_ranks
from tests.faults.runs import differences, last_row
from tests.system.runs import rows
from tests.unit.training.processes import joined_processes, run_in_processes

pytestmark = pytest.mark.slow

Gradients = dict[str, npt.NDArray[np.float32]]
NUM_KILLS = 30
LEAVE_SECONDS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A small text, so that runs of seconds have several epochs."""
    folder = tmp_path_factory.mktemp("several")
    text = corpus.write_text(folder / "text", num_lines=150)
    return (*corpus.task(text), "task.vocab_size=200", f"task.cache={folder}/cache")


def finish(process: subprocess.Popen[str]) -> str:
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    return errors


def batches(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "batches.jsonl").read_text(encoding="utf-8").splitlines()]


def test_more_and_fewer_processes_train_on_the_same_batches(
    data: tuple[str, ...], tmp_path: Path, figures: Figures
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "several").mkdir()
    finish(start_ranks(1, *data, "training.max_updates=48", cwd=tmp_path / "one"))
    for stage, num_processes in enumerate((1, 2, 3, 1), start=1):
        limit = f"training.max_updates={12 * stage}"
        said = finish(start_ranks(num_processes, *data, limit, cwd=tmp_path / "several"))
        assert num_processes == 1 or f"training.update_freq is {6 // num_processes}, not 6" in said
    one, several = tmp_path / "one/run", tmp_path / "several/run"
    different = sum(mine != theirs for mine, theirs in zip(batches(several), batches(one), strict=True))
    figures.count("processes 1, 2, 3, 1 in the middle of epochs", "updates of other batches", different)
    assert different == 0
    seen: dict[int, Counter[int]] = {}
    for row in batches(several):
        seen.setdefault(row["epoch"], Counter()).update(number for ids in row["ids"] for number in ids)
    *whole, _ = seen.values()
    assert len(whole) >= 2
    assert all(set(epoch.values()) == {1} and len(epoch) == len(whole[0]) for epoch in whole)
    losses = {(split, row["update"]): row["loss"] for split in ("train", "valid") for row in rows(several, split)}
    worst = max(
        abs(losses[split, row["update"]] - row["loss"]) / row["loss"]  # each stage's end has a validation of its own
        for split in ("train", "valid")
        for row in rows(one, split)
    )
    assert worst < 1e-5
    figures.count("processes 1, 2, 3, 1 in the middle of epochs", "updates", len(batches(several)))
    figures.largest("processes 1, 2, 3, 1 in the middle of epochs", "largest relative difference of a loss", worst)


def test_processes_that_cannot_share_an_update_are_refused(data: tuple[str, ...], tmp_path: Path) -> None:
    finish(start_ranks(1, *data, "training.update_freq=2", "training.max_updates=5", cwd=tmp_path))
    process = start_ranks(3, *data, "training.update_freq=2", "training.max_updates=9", cwd=tmp_path)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 1  # torchrun's own
    assert "an update of this run is made of 2 micro-batches: 3 processes cannot share them" in errors
    assert "start it with another number of processes: 1, 2" in errors


def test_exact_sums_make_one_and_two_processes_equal_to_the_bit(data: tuple[str, ...], tmp_path: Path) -> None:
    for num_processes in (1, 2):
        (tmp_path / str(num_processes)).mkdir()
        settings = (f"training.update_freq={6 // num_processes}", "training.reduction=exact", "training.max_updates=20")
        finish(start_ranks(num_processes, *data, *settings, cwd=tmp_path / str(num_processes)))
    names = ("model.safetensors", "optimizer.safetensors")
    last = Path("run/checkpoints/last")
    for name in names:
        assert (tmp_path / "1" / last / name).read_bytes() == (tmp_path / "2" / last / name).read_bytes()


def test_a_killed_process_takes_the_others_along_and_the_restart_is_exact(
    data: tuple[str, ...], tmp_path: Path, size: Size, figures: Figures
) -> None:
    (tmp_path / "whole").mkdir()
    settings = (*data, "training.update_freq=3", "training.max_updates=40")
    finish(start_ranks(2, *settings, cwd=tmp_path / "whole"))
    draw, num_kills, number = random.Random(5), size.of(NUM_KILLS, 2), 0
    while num_kills:
        number += 1
        folder = tmp_path / f"killed{number}"
        folder.mkdir()
        while True:
            torchrun = start_ranks(2, *settings, cwd=folder)
            if num_kills:
                _kill_one(torchrun, folder / "run", draw)
            begun = time.monotonic()
            errors = torchrun.communicate(timeout=300)[1]
            if torchrun.returncode == 0:
                break
            figures.slowest("a process killed under torchrun", "slowest end of the others", time.monotonic() - begun)
            assert time.monotonic() - begun < LEAVE_SECONDS, errors
            figures.count("a process killed under torchrun", "kills")
            num_kills -= 1
        found = differences(folder / "run", tmp_path / "whole/run")
        figures.count("a process killed under torchrun", "runs that ended in other weights or losses", int(bool(found)))
        assert found == []


def _kill_one(torchrun: subprocess.Popen[str], run: Path, draw: random.Random) -> None:
    """Kill one of two processes, a little further on."""
    before, distance = last_row(run).get("update", 0), draw.randrange(1, 9)
    while last_row(run).get("update", 0) < before + distance and torchrun.poll() is None:
        time.sleep(0.01)
    rank = draw.randrange(2)
    if (process := ranks_of(torchrun).get(rank)) is not None:
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("of_all", [True, False], ids=["torchrun", "one process"])
def test_a_signal_saves_the_same_update_in_all(
    data: tuple[str, ...], tmp_path: Path, of_all: bool, figures: Figures
) -> None:
    torchrun = start_ranks(2, *data, "training.update_freq=3", "training.max_updates=4000", cwd=tmp_path)
    while last_row(tmp_path / "run").get("update", 0) < 7 and torchrun.poll() is None:
        time.sleep(0.01)
    begun = time.monotonic()
    os.kill(torchrun.pid if of_all else ranks_of(torchrun)[1], signal.SIGTERM)
    errors = torchrun.communicate(timeout=120)[1]
    figures.slowest("SIGTERM under torchrun", "slowest end", time.monotonic() - begun)
    status = json.loads((tmp_path / "run/status.json").read_text(encoding="utf-8"))
    assert (status["state"], status["reason"]) == ("stopped", "SIGTERM"), errors
    state = json.loads((tmp_path / "run/checkpoints/last/state.json").read_text(encoding="utf-8"))
    assert state["train"]["num_updates"] == status["update"] >= 7


def make_module() -> TrainableModule:
    seed_everything(1, "weights")
    task = TinyTask()
    config = TransformerConfig(dropout=0.0)
    for name, value in _SIZES.items():
        setattr(config, f"encoder_{name}", value)
        setattr(config, f"decoder_{name}", value)
    model = build_model(config, task)
    criterion = build_criterion(LabelSmoothedCrossEntropyConfig(label_smoothing=0.1), task)
    return TrainableModule(model, criterion)


_SIZES = {"layers": 2, "embed_dim": 32, "ffn_embed_dim": 64, "attention_heads": 4}
_NUM_EXAMPLES = 48


def gradients(module: TrainableModule) -> Gradients:
    return {name: value.grad.numpy().copy() for name, value in module.named_parameters() if value.grad is not None}


def gradients_of_shares(num_micro_batches: int) -> Gradients:
    """The sum of the gradients of this process's micro-batches and of the other processes'."""
    with joined_processes() as processes:
        module = make_module()
        reduction = DataParallel(module, find_unused_parameters=False)
        count = processes.world_size * num_micro_batches
        shares = np.array_split(np.arange(_NUM_EXAMPLES), count)[processes.rank :: processes.world_size]
        for index, share in enumerate(shares):
            batch = TinyTask(num_examples=_NUM_EXAMPLES).dataset("train").collate(share)
            with reduction.micro_batch(batch, is_last=index == len(shares) - 1):
                reduction.module(batch).loss_sum.backward()
        return gradients(module)


@pytest.mark.parametrize(("num_processes", "num_micro_batches"), [(2, 1), (2, 3), (3, 2)])
def test_micro_batches_of_several_processes_have_the_gradient_of_one_large_batch(
    num_processes: int, num_micro_batches: int, figures: Figures
) -> None:
    module = make_module()
    batch = TinyTask(num_examples=_NUM_EXAMPLES).dataset("train").collate(np.arange(_NUM_EXAMPLES))
    module(batch).loss_sum.backward()
    expected = gradients(module)
    torch.set_num_threads(1)
    worst = 0.0
    for shares in run_in_processes(gradients_of_shares, num_processes, num_micro_batches):
        assert shares.keys() == expected.keys()
        for name, gradient in shares.items():
            scale = max(float(np.linalg.norm(expected[name])), 1e-6)
            worst = max(worst, float(np.linalg.norm(gradient - expected[name])) / scale)
    assert worst < 1e-5
    figures.largest("gradients of K processes x M micro-batches", "largest relative difference from one batch", worst)
