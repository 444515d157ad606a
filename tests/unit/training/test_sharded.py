"""Checkpoints in parts: some processes write them, and any other number of processes reads them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch.testing import assert_close

from seqtrain.config.root import BatchingConfig
from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.data.dataset import IterationOptions
from seqtrain.errors import CheckpointError
from seqtrain.lr_schedulers.fixed import Fixed, FixedConfig
from seqtrain.testing.fakes import TinyModel, TinyTask
from seqtrain.training.background import BackgroundWriter
from seqtrain.training.checkpoint import Checkpoint
from seqtrain.training.distributed import Processes, SingleProcess
from seqtrain.training.keeper import CheckpointKeeper, KeepPolicy
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.randomness import seed_everything
from seqtrain.training.reduction import LocalSum
from seqtrain.training.saving import Saver
from seqtrain.training.sharded import read_parts, write_parts
from seqtrain.training.state import TrainState
from seqtrain.training.step import Learner, TrainableModule, UpdateOptions, run_update
from tests.unit.training.processes import joined_processes, run_in_processes

CPU = torch.device("cpu")
MICRO_BATCHES = 6
Tensors = dict[str, Tensor]


def make_saver(folder: Path, processes: Processes) -> Saver:
    seed_everything(1, "weights")
    task = TinyTask(num_examples=36)
    module = TrainableModule(TinyModel(task), CrossEntropy(CrossEntropyConfig(), task))
    reduction: Any = LocalSum(module)
    if processes.world_size > 1:
        from seqtrain.training.fully_sharded import FullySharded

        reduction = FullySharded(module, processes, CPU)
    learner = Learner(
        task=task,
        module=module,
        optimizer=torch.optim.AdamW(module.parameters(), lr=0.01, fused=True),
        precision=MixedPrecision(torch.float32, CPU),
        reduction=reduction,
        processes=processes,
        device=CPU,
    )
    keeper = CheckpointKeeper(folder, KeepPolicy(keep_last=9, keep_best=0, maximize=False))
    lr_scheduler = Fixed(FixedConfig(), learner.optimizer)
    return Saver(learner, lr_scheduler, keeper, "model: {_name: tiny}\n", BackgroundWriter())


def go_on(folder: Path, processes: Processes, last_update: int) -> None:
    """Resume from the newest checkpoint of a folder, if there is one, train up to an update, and save."""
    saver, state = make_saver(folder, processes), TrainState()
    saved = sorted(folder.glob("update_*"))
    if saved:
        state, _ = saver.restore(Checkpoint(saved[-1]))
    task = saver.learner.task
    options = IterationOptions(
        batching=BatchingConfig(max_sentences=1, max_tokens=None, required_batch_size_multiple=1),
        max_positions=(99, 99),
        update_freq=MICRO_BATCHES // processes.world_size,
        rank=processes.rank,
        world_size=processes.world_size,
        first_batch=state.num_updates * MICRO_BATCHES,
    )
    iterator = iter(task.get_batch_iterator(task.dataset("train"), options))
    while state.num_updates < last_update:
        first_batch = (1, state.num_updates * MICRO_BATCHES)
        settings = UpdateOptions(clip_norm=0.0, seed=1)
        run_update(saver.learner, next(iterator), MetricSums(), options=settings, first_batch=first_batch)
        state.num_updates += 1
    with saver.writer:
        saver.save(state, metric=None)


def go_on_in_process(folder: Path, last_update: int) -> None:
    with joined_processes() as processes:
        go_on(folder, processes, last_update)


def fail_in_one(folder: Path) -> str:
    """The second process's folder lies in a file."""
    with joined_processes() as processes:
        saver = make_saver(folder if processes.is_first else folder / "file", processes)
        saver.learner.optimizer.zero_grad()
        saver.save(TrainState(num_updates=1), metric=None)
        with pytest.raises(CheckpointError) as caught:
            saver.writer.wait()
        return str(caught.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by 2 processes up to update 2, by 3 up to update 4, and by one up to update 5."""
    folder: Path = tmp_path_factory.mktemp("run")
    run_in_processes(go_on_in_process, 2, folder, 2)
    run_in_processes(go_on_in_process, 3, folder, 4)
    go_on(folder, SingleProcess(), 5)
    return folder


def test_each_process_writes_its_part_into_one_folder(run: Path) -> None:
    folder = run / "update_00000002"
    names = [f"{kind}-0000{number}-of-00002.safetensors" for kind in ("model", "optimizer") for number in (1, 2)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*names, "config.yaml", "dict.txt", "manifest.json", "state.json"]
    )
    parts = [path.stat().st_size for path in folder.glob("model-*")]
    assert max(parts) < 0.75 * sum(parts)


def test_a_run_goes_on_with_another_number_of_processes_as_if_nothing_had_happened(run: Path, tmp_path: Path) -> None:
    for num_updates in (2, 4, 5):
        go_on(tmp_path, SingleProcess(), num_updates)
    for name in ("update_00000002", "update_00000004", "update_00000005"):
        expected, actual = Checkpoint(tmp_path / name), Checkpoint(run / name)
        assert_close(actual.model, expected.model, rtol=1e-4, atol=1e-6)
        assert_close(actual.optimizer, expected.optimizer, rtol=1e-4, atol=1e-6)
        assert actual.state["optimizer"] == expected.state["optimizer"]


def test_a_checkpoint_of_one_process_is_loaded_and_saved_again_in_parts_to_the_bit(tmp_path: Path) -> None:
    go_on(tmp_path, SingleProcess(), 3)
    before = Checkpoint(tmp_path / "update_00000003")
    expected = before.model, before.optimizer
    run_in_processes(go_on_in_process, 2, tmp_path, 3)
    after = Checkpoint(tmp_path / "update_00000003")
    assert (after.folder / "optimizer-00002-of-00002.safetensors").exists()
    for mine, theirs in zip((after.model, after.optimizer), expected, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_if_one_process_cannot_write_all_say_so_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    messages = run_in_processes(fail_in_one, 2, tmp_path)
    assert messages[0] == messages[1]
    assert "process 1: the checkpoint could not be written: [Errno 20] Not a directory" in messages[0]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# Reading, of files that are written by hand here


def write_part(path: Path, tensors: Tensors, offsets: dict[str, list[int]]) -> Path:
    write_parts(path, tensors, offsets)
    return path


def whole(_: str) -> None:
    """No tensor takes the value."""


def test_what_torch_writes_is_read_and_what_it_says_of_parts_is_what_we_say(tmp_path: Path) -> None:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    tensors = {"table": torch.arange(10.0).reshape(5, 2), "step": torch.tensor(7)}
    with pytest.warns(UserWarning, match="save in a single process"):
        save(tensors, storage_writer=HuggingFaceStorageWriter(str(tmp_path), save_distributed=True), no_dist=True)
    (theirs,) = tmp_path.iterdir()
    ours = write_part(tmp_path / "ours.safetensors", tensors, {"table": [0, 0], "step": []})
    info = []
    for path in (theirs, ours):
        assert_close(read_parts([path], whole), tensors, rtol=0, atol=0)
        with safe_open(path, "pt") as file:
            info.append(json.loads(file.metadata()["DCP_SHARDING_INFO"]))
    assert info[0] == info[1]


def test_parts_stand_where_their_offsets_say_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    table = torch.arange(10.0).reshape(5, 2)
    files = [
        write_part(tmp_path / "model-1-of-2.safetensors", {"table": table[:3], "step": torch.tensor(7)},
                   {"table": [0, 0], "step": []}),
        write_part(tmp_path / "model-2-of-2.safetensors", {"table": table[3:]}, {"table": [3, 0]}),
    ]  # fmt: skip
    for order in (files, files[::-1]):
        assert_close(read_parts(order, whole), {"table": table, "step": torch.tensor(7)}, rtol=0, atol=0)


@pytest.mark.parametrize(
    "parts",
    [{3: 2}, {0: 3, 2: 3}, {0: 2, 3: 2}, {0: 2, 10**15: 2}],
    ids=["no beginning", "an overlap", "a gap", "one far away"],
)
def test_a_part_that_is_missing_or_there_twice_is_found_before_there_is_room_for_it(
    tmp_path: Path, parts: dict[int, int]
) -> None:
    files = [
        write_part(tmp_path / f"{offset}.safetensors", {"x": torch.ones(size)}, {"x": [offset]})
        for offset, size in parts.items()
    ]
    with pytest.raises(CheckpointError, match="lacks a part of x, or has one twice"):
        read_parts(files, whole)


def test_a_file_that_is_no_safetensors_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model-1-of-1.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00nonsense")
    with pytest.raises(CheckpointError, match=f"{tmp_path}: its tensors cannot be read"):
        read_parts([path], whole)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_beside_the_parts_is_not_looked_at(tmp_path: Path) -> None:
    file = write_part(tmp_path / "model-1-of-1.safetensors", {"x": torch.ones(2)}, {"x": [0]})
    for name in (".metadata", "__0_0.distcp", "other.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Payload(tmp_path / "was_run")))
    assert read_parts([file], whole)["x"].tolist() == [1.0, 1.0]
    assert not (tmp_path / "was_run").exists()
