"""What a run saves, when, and what becomes of it if it cannot be saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from seqtrain.config.root import ValidationConfig
from seqtrain.errors import CheckpointError
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.background import BackgroundWriter, CheckpointWriter
from seqtrain.training.checkpoint import Checkpoint, CheckpointContent, checkpoint_name, write_checkpoint
from seqtrain.training.validation import Validator
from tests.unit.training.tiny_run import CPU, Pieces, config, make_trainer


class FullDisk(TinyTask):
    """Finds no room for its vocabulary from the second checkpoint on."""

    def __init__(self) -> None:
        super().__init__(num_examples=40)
        self.num_saves = 0

    def save_assets(self, folder: Path) -> None:
        self.num_saves += 1
        if self.num_saves > 1:
            raise OSError(28, "No space left on device")
        super().save_assets(folder)


class ScriptedValidator(Validator):
    """Gives the measures that it is told, one after the other, and keeps the weights that it was to measure."""

    def measure(self, split: str) -> dict[str, float]:
        return MEASURES.pop(0)


MEASURES: list[dict[str, float]] = []


def scripted(trainer_measures: list[dict[str, float]]) -> Pieces:
    MEASURES[:] = trainer_measures
    learner = make_trainer(Path(), config()).learner
    validator = ScriptedValidator(
        losses=learner, processes=learner.processes, batching=config().batching, max_positions=(9, 9), decode=None
    )
    return Pieces(validator=validator)


def test_what_is_written_in_the_background_is_what_is_written_while_training_waits(tmp_path: Path) -> None:
    for name, writer in (("background", BackgroundWriter()), ("waiting", CheckpointWriter())):
        make_trainer(tmp_path / name, config(), Pieces(writer)).fit()
    for number in (5, 10):
        folders = [tmp_path / name / checkpoint_name(number) for name in ("background", "waiting")]
        files = [{path.name for path in folder.iterdir()} for folder in folders]
        assert files[0] == files[1] > {"model.safetensors", "optimizer.safetensors", "ema.safetensors"}
        for name in files[0] - {"state.json", "manifest.json"}:
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


@pytest.mark.parametrize("writer", [BackgroundWriter(), CheckpointWriter()], ids=["background", "waiting"])
def test_a_full_disk_ends_the_run_and_leaves_the_last_good_checkpoint(tmp_path: Path, writer: CheckpointWriter) -> None:
    trainer = make_trainer(tmp_path, config(), Pieces(writer, FullDisk()))
    with pytest.raises(CheckpointError, match=r"update_00000010: .* No space left on device"):
        trainer.fit()
    assert [path.name for path in tmp_path.glob("[u.]*")] == ["update_00000005"]
    Checkpoint(tmp_path / "last")


@pytest.mark.parametrize(("minutes", "expected"), [(1e-9, list(range(1, 11))), (1e9, [10])])
def test_minutes_between_saves_are_kept_to(tmp_path: Path, minutes: float, expected: list[int]) -> None:
    often: dict[str, Any] = {
        "save_interval_updates": None,
        "save_interval_epochs": None,
        "save_interval_minutes": minutes,
    }
    make_trainer(tmp_path, config(keep_last=20, **often)).fit()
    assert sorted(path.name for path in tmp_path.glob("update_*")) == [checkpoint_name(number) for number in expected]


def test_minutes_are_counted_on_from_a_resume(tmp_path: Path) -> None:
    often: dict[str, Any] = {"save_interval_updates": 4, "save_interval_epochs": None, "save_interval_minutes": 60.0}
    first = make_trainer(tmp_path, config(**often))
    first.config.training.max_updates = 4
    first.state.training_seconds = 7200.0
    first.fit()
    resumed = make_trainer(tmp_path, config(**often))
    resumed.resume(Checkpoint(tmp_path / "last"))
    resumed.config.training.max_updates = 7
    resumed.config.checkpoint.save_interval_updates = None
    resumed.fit()
    assert [path.name for path in sorted(tmp_path.glob("update_*"))] == [checkpoint_name(4), checkpoint_name(7)]


@pytest.mark.parametrize(
    ("metric", "maximize", "best"),
    [("loss", False, 4), ("bleu", True, 6), ("chrf", True, 2), ("perplexity", False, 8)],
)
def test_any_measure_can_choose_the_best(tmp_path: Path, metric: str, maximize: bool, best: int) -> None:
    measures = [
        {"loss": 3.0, "bleu": 10.0, "chrf": 60.0, "perplexity": 9.0},
        {"loss": 1.0, "bleu": 20.0, "chrf": 40.0, "perplexity": 8.0},
        {"loss": 2.0, "bleu": 30.0, "chrf": 50.0, "perplexity": 7.0},
        {"loss": 4.0, "bleu": 25.0, "chrf": 30.0, "perplexity": 6.0},
        {"loss": 5.0, "bleu": 5.0, "chrf": 20.0, "perplexity": 7.5},
    ]
    validation = ValidationConfig(interval_updates=2, interval_epochs=None, metric=metric, maximize=maximize)
    trainer = make_trainer(tmp_path, config(validation=validation, keep_last=1), scripted(measures))
    trainer.fit()
    assert (tmp_path / "best").readlink() == Path(checkpoint_name(best))
    assert trainer.state.best_update == best
    state = json.loads((tmp_path / "best/state.json").read_text(encoding="utf-8"))
    assert state["metric"] == measures[best // 2 - 1][metric]


def test_a_resumed_run_has_the_average_of_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path / "whole", config())
    whole.fit()
    stopped = make_trainer(tmp_path / "stopped", config())
    stopped.config.training.max_updates = 5
    stopped.fit()
    resumed = make_trainer(tmp_path / "stopped", config())
    resumed.resume(Checkpoint(tmp_path / "stopped/last"))
    resumed.fit()
    files = [tmp_path / name / "last/ema.safetensors" for name in ("whole", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes() != (tmp_path / "whole/last/model.safetensors").read_bytes()


def test_a_checkpoint_without_an_average_begins_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    without = config()
    without.training.ema_decay = None
    first = make_trainer(tmp_path, without)
    first.fit()
    resumed = make_trainer(tmp_path, config())
    resumed.resume(Checkpoint(tmp_path / "last"))
    assert "has no averaged weights: the average begins with the weights of now" in caplog.text
    assert resumed.learner.average is not None
    own = dict(resumed.learner.module.model.named_parameters())
    assert all(torch.equal(value.to(CPU), own[name]) for name, value in resumed.learner.average.tensors().items())


@pytest.mark.parametrize("part", ["optimizer", "lr_scheduler", "precision", "metric"])
def test_a_state_that_lacks_a_part_is_refused(tmp_path: Path, part: str) -> None:
    """Its manifest is right, so somebody wrote it like this."""
    make_trainer(tmp_path, config()).fit()
    whole = Checkpoint(tmp_path / "last")
    state = {key: value for key, value in whole.state.items() if key != part}
    content = CheckpointContent(
        model=whole.model, criterion={}, optimizer={}, state=state, config=whole.config, save_assets=lambda _: None
    )
    write_checkpoint(tmp_path / "forged", content)
    with pytest.raises(CheckpointError, match=r"forged/state\.json is not what a run of seqtrain writes"):
        make_trainer(tmp_path, config()).resume(Checkpoint(tmp_path / "forged"))
