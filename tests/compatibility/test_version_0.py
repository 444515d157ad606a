"""A run folder of version 0 is read, resumed, run again and evaluated by today's code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from seqtrain.assemble import load_trained
from seqtrain.config.check import typed
from seqtrain.config.root import TrainConfig
from seqtrain.config.versions import saved_config
from seqtrain.training.checkpoint import Checkpoint
from seqtrain.training.state import TrainState
from tests.system.runs import rows, start, weights

VERSION_0 = Path(__file__).parent / "version_0"
CHECKPOINT = VERSION_0 / "run" / "checkpoints" / "update_00000002"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the run folder, to be written to."""
    return Path(shutil.copytree(VERSION_0 / "run", tmp_path / "outputs" / "old"))


def expected(split: str) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl that the run would have come to."""
    lines = (VERSION_0 / "expected.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


def losses(measured: list[dict[str, Any]]) -> dict[int, float]:
    """The loss of each update."""
    return {row["update"]: row["loss"] for row in measured}


def go_on(run: Path, *overrides: str) -> str:
    """Go on with the run by the command line of its saved config; what it says."""
    arguments = ("--rerun", str(run), f"hydra.run.dir={run}", f"task.data={VERSION_0 / 'data'}", *overrides)
    result = start("train", *arguments, cwd=run.parent)
    assert result.returncode == 0, result.stderr
    return result.stderr


def test_its_config_has_no_version_and_fits_todays_schemas() -> None:
    assert "version" not in (CHECKPOINT / "config.yaml").read_text(encoding="utf-8")
    config = typed(TrainConfig, saved_config(CHECKPOINT / "config.yaml"))
    assert (config.training.max_updates, config.optimizer.lr, config.lr_scheduler.total_num_update) == (6, 0.01, 6)


def test_its_checkpoint_is_intact_and_its_state_is_todays() -> None:
    state = TrainState.from_state_dict(Checkpoint(CHECKPOINT).state["train"])
    assert (state.num_updates, state.next_batch, state.micro_batches_per_update) == (2, 4, 2)


def test_its_model_is_loaded() -> None:
    config, task, model = load_trained(CHECKPOINT)
    assert config.task.tokenizer.name == "bytes"
    assert sum(parameter.numel() for parameter in model.parameters()) == 5760
    assert len(task.target_vocabulary) == 264


@pytest.mark.slow
def test_it_goes_on_to_the_losses_that_the_old_code_came_to(run: Path) -> None:
    go_on(run)
    for split in ("train", "valid"):
        assert losses(rows(run, split)) == pytest.approx(losses(expected(split)), rel=1e-5)
    assert (run / "config.resolved.yaml").read_text(encoding="utf-8").startswith("version: ")
    newest = run / "checkpoints" / "last"
    assert (newest / "config.yaml").read_text(encoding="utf-8").startswith("version: ")
    assert json.loads((newest / "state.json").read_text(encoding="utf-8"))["version"] >= 1


@pytest.mark.slow
def test_it_is_found_by_resume(run: Path) -> None:
    (run / "status.json").write_text('{"state": "stopped"}', encoding="utf-8")
    shutil.copytree(VERSION_0 / "data", run.parent.parent / "data")
    arguments = ("--rerun", str(run), "--resume", "task.data=data", "training.max_updates=4")
    result = start("train", *arguments, cwd=run.parent.parent)
    assert result.returncode == 0, result.stderr
    assert f"finished by training.max_updates=4 at update 4, in {run}" in result.stderr


@pytest.mark.slow
def test_its_validation_loss_is_what_it_was(run: Path) -> None:
    arguments = (f"checkpoint={CHECKPOINT}", f"data={VERSION_0 / 'data'}", "runtime.precision=fp32", "generate=false")
    result = start("evaluate", *arguments, cwd=run)
    assert result.returncode == 0, result.stderr
    (loss,) = [row["loss"] for row in expected("valid") if row["update"] == 2]
    assert f"loss\t{loss:.4f}\n" in result.stdout


@pytest.mark.slow
def test_larger_batches_begin_the_epoch_anew(run: Path) -> None:
    said = go_on(run, "batching.max_tokens=2048", "training.max_epochs=1", "--allow-changes=batching.max_tokens")
    assert "  changes the result:\n    batching.max_tokens: 256 -> 2048\n" in said
    assert "the batches of epoch 1 are other ones now: it begins anew" in said
    assert "finished by training.max_epochs=1 at update 3" in said
    (line,) = (run / "changes.jsonl").read_text(encoding="utf-8").splitlines()
    keys = [change["key"] for change in json.loads(line)["changes"]]
    assert (json.loads(line)["update"], keys) == (2, ["batching.max_tokens", "task.data", "training.max_epochs"])


@pytest.mark.slow
def test_changed_settings_of_the_optimizer_count(run: Path, tmp_path: Path) -> None:
    ends = []
    for name, overrides in {
        "same": [],
        "betas": ["optimizer.betas=[0.5,0.9]", "--allow-changes=optimizer.betas"],
        "rate": ["optimizer.lr=0.02", "--allow-changes=optimizer.*"],
    }.items():
        copy = Path(shutil.copytree(run, tmp_path / name))
        go_on(copy, "training.max_updates=3", "lr_scheduler.total_num_update=6", *overrides)
        ends.append((weights(copy), rows(copy, "train")[-1]["learning_rate"]))
    assert len({weight for weight, _ in ends}) == 3
    assert json.loads((tmp_path / "betas/checkpoints/last/state.json").read_text(encoding="utf-8"))["optimizer"][
        "groups"
    ][0]["betas"] == [0.5, 0.9]
