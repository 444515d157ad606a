"""A run starts from another run's checkpoint with just as much of it as is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqtrain.config.check import to_yaml
from seqtrain.config.root import CheckpointConfig, TrainBatchingConfig, ValidationConfig
from seqtrain.errors import CheckpointError
from seqtrain.training.checkpoint import Checkpoint, CheckpointContent, write_checkpoint
from seqtrain.training.loop import Trainer
from seqtrain.training.starting import start_from
from tests.unit.training.tiny_run import config, make_trainer


@pytest.fixture
def first(tmp_path: Path) -> Trainer:
    """A run that has ended, whose last checkpoint is `update_00000010`."""
    trainer = make_trainer(tmp_path / "first", config())
    trainer.fit()
    return trainer


def start(tmp_path: Path, **resets: Any) -> Trainer:
    trainer = make_trainer(tmp_path / "second", config(finetune_from="first", **resets))
    start_from(trainer, Checkpoint(tmp_path / "first/update_00000010"))
    return trainer


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.learner.module.parameters()])


def test_the_weights_are_taken_and_nothing_else(first: Trainer, tmp_path: Path) -> None:
    second = start(tmp_path)
    assert torch.equal(weights(second), weights(first))
    assert second.learner.average is not None
    assert torch.equal(
        second.learner.average.tensors()["output.weight"], second.learner.module.model.state_dict()["output.weight"]
    )
    assert not second.learner.optimizer.state
    assert (second.state.num_updates, second.state.epoch, second.state.num_tokens) == (0, 1, 0)


def test_the_optimizer_is_taken_with_the_settings_of_now(first: Trainer, tmp_path: Path) -> None:
    second = start(tmp_path, reset_optimizer=False)
    for mine, theirs in zip(second.learner.module.parameters(), first.learner.module.parameters(), strict=True):
        moments = second.learner.optimizer.state[mine]
        assert torch.equal(moments["exp_avg_sq"], first.learner.optimizer.state[theirs]["exp_avg_sq"])
        assert moments["step"].item() == 10
    assert second.learner.optimizer.param_groups[0]["lr"] == 0.5
    assert second.state.num_updates == 0


@pytest.mark.usefixtures("first")
def test_the_schedule_goes_on_from_its_update(tmp_path: Path) -> None:
    second = start(tmp_path, reset_lr_scheduler=False)
    assert second.state.num_updates == 10
    assert second.learner.optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * (4 / 10) ** 0.5)
    assert second.state.num_tokens == 0


def test_the_place_in_the_epoch_is_kept(first: Trainer, tmp_path: Path) -> None:
    second = start(tmp_path, reset_dataloader=False)
    assert (second.state.epoch, second.state.next_batch) == (first.state.epoch, first.state.next_batch)
    assert second.state.num_updates == 0


def test_the_meters_are_kept(first: Trainer, tmp_path: Path) -> None:
    second = start(tmp_path, reset_lr_scheduler=False, reset_meters=False)
    assert second.state.num_tokens == first.state.num_tokens > 0
    assert second.recorder.total() == first.recorder.total()


def test_with_nothing_reset_the_run_goes_on_as_the_first_would(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path / "whole", config())
    whole.config.training.max_updates = 17
    whole.fit()
    first = make_trainer(tmp_path / "first", config())
    first.fit()
    resets: dict[str, Any] = dict.fromkeys(
        ("reset_optimizer", "reset_lr_scheduler", "reset_dataloader", "reset_meters"), False
    )
    second = start(tmp_path, **resets)
    second.config.training.max_updates = 17
    second.fit()
    assert torch.equal(weights(second), weights(whole))


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(
    ("section", "value", "option", "key"),
    [
        ("optimizer", {"_name": "sgd", "lr": 0.5}, "reset_optimizer", "optimizer._name"),
        ("lr_scheduler", {"_name": "fixed"}, "reset_lr_scheduler", "lr_scheduler._name"),
        ("batching", TrainBatchingConfig(max_tokens=48), "reset_dataloader", "batching.max_tokens"),
        ("validation", ValidationConfig(metric="bleu"), "reset_meters", "validation.metric"),
    ],
)
def test_what_means_nothing_here_is_refused(tmp_path: Path, section: str, value: object, option: str, key: str) -> None:
    resets: dict[str, Any] = {"reset_lr_scheduler": False, option: False}
    other = config(finetune_from="first", **resets)
    trainer = make_trainer(tmp_path / "second", other)
    setattr(other, section, value)
    object.__setattr__(trainer.saver, "config_yaml", to_yaml(other))
    with pytest.raises(CheckpointError, match=rf"checkpoint\.{option}=false: .* with another value of .*{key}"):
        start_from(trainer, Checkpoint(tmp_path / "first/update_00000010"))


@pytest.mark.usefixtures("first")
def test_a_place_in_other_data_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "second", config(finetune_from="first", reset_dataloader=False))
    trainer.state.data_fingerprint = "other data"
    with pytest.raises(CheckpointError, match="another value of the training data"):
        start_from(trainer, Checkpoint(tmp_path / "first/update_00000010"))


def test_weights_alone_have_no_optimizer_to_take(first: Trainer, tmp_path: Path) -> None:
    model = first.saver.learner.module.model.state_dict()
    alone = CheckpointContent(model, {}, None, {"metric": None}, to_yaml(first.config), lambda _folder: None)
    write_checkpoint(tmp_path / "average", alone)
    trainer = make_trainer(tmp_path / "second", config(finetune_from="average", reset_optimizer=False))
    with pytest.raises(CheckpointError, match="holds weights alone, such as an average: no run can go on from it"):
        start_from(trainer, Checkpoint(tmp_path / "average"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reset_optimizer": False}, "checkpoint.finetune_from names no checkpoint to take it from"),
        ({"finetune_from": "first", "reset_meters": False}, "must be true where reset_lr_scheduler is"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings: dict[str, Any], message: str) -> None:
    assert any(message in problem.text for problem in CheckpointConfig(**settings).problems())
