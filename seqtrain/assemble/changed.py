"""What another config means for a run that goes on: what its checkpoint says gives way to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqtrain.config.check import to_yaml
from seqtrain.config.root import TrainConfig
from seqtrain.training.changes import changes_batches, changes_since, take_over_optimizer_settings

if TYPE_CHECKING:
    from seqtrain.config.differences import Difference
    from seqtrain.training.checkpoint import Checkpoint
    from seqtrain.training.loop import Trainer

logger = logging.getLogger(__name__)


def resume_with_changes(trainer: Trainer, checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Go on from a checkpoint that may have been written with another config.

    The checkpoint holds its optimizer's settings, the learning rate of the next update, and the position in an epoch
    of batches; where the config is changed, these are the config's.

    Args:
        trainer: As the config made it.
        checkpoint: Where to go on from.
        config: The config, whose changes are allowed.

    Raises:
        CheckpointError: The checkpoint belongs to another model.
    """
    groups = trainer.learner.optimizer.param_groups
    made = [{key: value for key, value in group.items() if key != "params"} for group in groups]
    trainer.resume(checkpoint)
    changes = changes_since(checkpoint.config, to_yaml(config))
    _change_optimizer(trainer, changes, made)
    if any(map(changes_batches, changes)):
        _restart_epoch(trainer)


def _change_optimizer(trainer: Trainer, changes: Sequence[Difference], made: Sequence[Mapping[str, Any]]) -> None:
    groups = trainer.learner.optimizer.param_groups
    take_over_optimizer_settings(groups, made, changes)
    if any(change.key.startswith(("optimizer.", "lr_scheduler.")) for change in changes):
        lr = trainer.lr_scheduler.step_update(trainer.state.num_updates)
        trainer.lr_scheduler.lr = lr
        for group in groups:
            group["lr"] = lr


def _restart_epoch(trainer: Trainer) -> None:
    state = trainer.state
    if state.next_batch and not state.pending_epoch_end:
        state.next_batch = 0
        if trainer.learner.processes.is_first:
            logger.warning("the batches of epoch %d are other ones now: it begins anew", state.epoch)
