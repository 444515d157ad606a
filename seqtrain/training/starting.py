"""Starting a run from another run's checkpoint: from its weights, and from as much else of it as is asked for.

`checkpoint.reset_optimizer`, `reset_lr_scheduler`, `reset_dataloader` and `reset_meters` say what begins anew, as
fairseq's options of these names do.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from seqtrain.config.differences import Difference
from seqtrain.errors import CheckpointError
from seqtrain.training.changes import changes_batches, changes_since
from seqtrain.training.checkpoint import Checkpoint
from seqtrain.training.loop import Trainer
from seqtrain.training.optimizer_state import load_optimizer_state
from seqtrain.training.saving import training_state
from seqtrain.training.weights import load_named_tensors

__all__ = ["start_from"]

_SCHEDULE = ("num_updates",)
_POSITION = ("epoch", "next_batch", "pending_epoch_end", "micro_batches_per_update")
_METERS = (
    "num_tokens",
    "num_sentences",
    "training_seconds",
    "best_metric",
    "best_update",
    "num_validations_since_best",
    "last_valid_loss",
    "last_validation_update",
    "interval_sums",
    "num_skipped",
    "num_loss_spikes",
    "recent_losses",
)


def start_from(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Start a run from a checkpoint of another one.

    Args:
        trainer: At its beginning, with the fingerprint of its data in its state.
        checkpoint: Of another run.

    Raises:
        CheckpointError: It does not fit the model, or lacks what was asked for, or what was asked for means nothing
            with this run's optimizer, schedule, data or metric.
    """
    resets, learner = trainer.config.checkpoint, trainer.learner
    load_named_tensors(learner.module.model, checkpoint.model, origin=str(checkpoint.folder))
    if learner.average is not None:
        learner.average.restart()
    if resets.reset_optimizer and resets.reset_lr_scheduler and resets.reset_dataloader and resets.reset_meters:
        return
    saved = training_state(checkpoint)
    changes = changes_since(checkpoint.config, trainer.saver.config_yaml)
    taken: list[str] = []
    if not resets.reset_optimizer:
        _require_same(checkpoint, changes, ["optimizer._name"], "reset_optimizer")
        _take_optimizer(trainer, checkpoint, saved)
    if not resets.reset_lr_scheduler:
        _require_same(checkpoint, changes, ["lr_scheduler._name"], "reset_lr_scheduler")
        taken += _SCHEDULE
    if not resets.reset_dataloader:
        _require_same_batches(trainer, checkpoint, changes, saved)
        taken += _POSITION
    if not resets.reset_meters:
        _require_same(checkpoint, changes, ["validation.metric", "validation.maximize"], "reset_meters")
        taken += _METERS
    for name in taken:
        setattr(trainer.state, name, saved["train"][name])
    trainer.state.row_epoch, trainer.state.row_batch = trainer.state.epoch, trainer.state.next_batch
    trainer.begin()
    if not resets.reset_lr_scheduler:
        _take_schedule(trainer, saved)


def _take_optimizer(trainer: Trainer, checkpoint: Checkpoint, saved: dict[str, Any]) -> None:
    """Take over what the optimizer and the loss scale have learned; their settings are the config's."""
    learner = trainer.learner
    if isinstance(learner.module.criterion, nn.Module):
        load_named_tensors(learner.module.criterion, checkpoint.criterion, origin=str(checkpoint.folder))
    groups = [{key: value for key, value in group.items() if key != "params"} for group in _groups(trainer)]
    plain = {"values": saved["optimizer"]["values"], "groups": groups}
    load_optimizer_state(learner.optimizer, learner.module, tensors=checkpoint.optimizer, plain=plain)
    learner.precision.load_state_dict(saved["precision"])


def _take_schedule(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Go on where the schedule stood, with the config's settings of it."""
    lr_scheduler = trainer.lr_scheduler
    lr_scheduler.load_state_dict(saved["lr_scheduler"])
    lr_scheduler.lr = saved["optimizer"]["groups"][0]["lr"]
    lr_scheduler.lr = lr_scheduler.step_update(trainer.state.num_updates)
    for group in _groups(trainer):
        group["lr"] = lr_scheduler.lr


def _groups(trainer: Trainer) -> list[dict[str, Any]]:
    return trainer.learner.optimizer.param_groups


def _require_same_batches(
    trainer: Trainer, checkpoint: Checkpoint, changes: Collection[Difference], saved: dict[str, Any]
) -> None:
    different = [change.key for change in changes if changes_batches(change)]
    if saved["train"]["data_fingerprint"] != trainer.state.data_fingerprint:
        different.append("the training data")
    _refuse(checkpoint, different, "reset_dataloader")


def _require_same(checkpoint: Checkpoint, changes: Collection[Difference], keys: list[str], option: str) -> None:
    _refuse(checkpoint, [change.key for change in changes if change.key in keys], option)


def _refuse(checkpoint: Checkpoint, different: list[str], option: str) -> None:
    if different:
        raise CheckpointError(
            f"checkpoint.{option}=false: {checkpoint.folder} was written with another value of {', '.join(different)}",
            remedy=f"leave checkpoint.{option}=false out, or give the same values",
        )
