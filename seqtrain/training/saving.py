"""A learner to a checkpoint and back."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from seqtrain.errors import CheckpointError, TrainingError
from seqtrain.lr_schedulers.base import LRScheduler
from seqtrain.training.background import CheckpointWriter
from seqtrain.training.checkpoint import CRITERION, MODEL, OPTIMIZER, STATE, Checkpoint, CheckpointContent
from seqtrain.training.distributed import Processes
from seqtrain.training.guard import require_finite_weights
from seqtrain.training.keeper import CheckpointKeeper
from seqtrain.training.optimizer_state import load_optimizer_state, optimizer_state
from seqtrain.training.sharded import own_parts, save_together
from seqtrain.training.shards import is_sharded
from seqtrain.training.state import TrainState
from seqtrain.training.step import Learner
from seqtrain.training.weights import load_named_tensors, named_tensors

logger = logging.getLogger(__name__)

_PARTS = {"train", "optimizer", "lr_scheduler", "precision", "metric"}


@dataclass(frozen=True)
class Saver:
    """Writes and reads the checkpoints of a run.

    Attributes:
        learner: Whose model, optimizer and precision are saved.
        lr_scheduler: Its schedule.
        keeper: The folder of the checkpoints.
        config_yaml: The resolved config.
        writer: Writes while training waits, or in the background.
    """

    learner: Learner
    lr_scheduler: LRScheduler
    keeper: CheckpointKeeper
    config_yaml: str
    writer: CheckpointWriter = field(default_factory=CheckpointWriter)

    def save(self, state: TrainState, *, metric: float | None) -> None:
        """Write a checkpoint of this moment. The first process writes it, or each its parts where tensors are sharded.

        Args:
            state: Where the run stands.
            metric: The validation metric of this moment, where there is one.

        Raises:
            TrainingError: The loss or a parameter is not finite: what would be saved is of no use.
            CheckpointError: It could not be written, or the one before could not where that is done in the background.
        """
        require_numbers(state.interval_sums, state.num_updates)
        require_finite_weights(self.learner, state.num_updates)
        num_updates, processes = state.num_updates, self.learner.processes
        if self._is_sharded:
            self._save_parts(self._content(state, metric), num_updates)
        elif processes.is_first:
            self.writer.write(
                self._content(state, metric),
                lambda content: logger.info("saved %s", self.keeper.save(content, num_updates)),
            )

    def _save_parts(self, content: CheckpointContent, num_updates: int) -> None:
        processes = self._writing_processes
        content, offsets = own_parts(content, processes)

        def write(copied: CheckpointContent) -> None:
            path = save_together(self.keeper, copied, offsets, num_updates=num_updates, processes=processes)
            if processes.is_first:
                logger.info("saved %s", path)

        self.writer.write(content, write)

    @cached_property
    def _writing_processes(self) -> Processes:
        """The processes, for the threads that write; made by all together."""
        return self.learner.processes.for_thread()

    @property
    def _is_sharded(self) -> bool:
        return any(is_sharded(parameter) for parameter in self.learner.module.parameters())

    def _content(self, state: TrainState, metric: float | None) -> CheckpointContent:
        module = self.learner.module
        tensors, plain = optimizer_state(self.learner.optimizer, module)
        return CheckpointContent(
            model=named_tensors(module.model),
            criterion=named_tensors(module.criterion) if isinstance(module.criterion, nn.Module) else {},
            optimizer=tensors,
            state={
                "train": state.state_dict(),
                "optimizer": plain,
                "lr_scheduler": self.lr_scheduler.state_dict(),
                "precision": self.learner.precision.state_dict(),
                "metric": metric,
            },
            config=self.config_yaml,
            save_assets=self.learner.task.save_assets,
            ema=None if self.learner.average is None else self.learner.average.tensors(),
        )

    def restore(self, checkpoint: Checkpoint) -> tuple[TrainState, float | None]:
        """Put everything back to where a checkpoint was written.

        Returns:
            Where the run stood, and its validation metric of that moment.

        Raises:
            CheckpointError: The checkpoint belongs to another model.
        """
        saved = training_state(checkpoint)
        learner = self.learner
        self._load_weights(checkpoint, MODEL, learner.module.model)
        if isinstance(learner.module.criterion, nn.Module):
            self._load_weights(checkpoint, CRITERION, learner.module.criterion)
        parameters = dict(learner.module.named_parameters())
        like = (lambda label: parameters.get(label.rpartition("/")[0])) if self._is_sharded else None
        tensors = checkpoint.read(OPTIMIZER, like)
        self._restore_average(checkpoint)
        load_optimizer_state(learner.optimizer, learner.module, tensors=tensors, plain=saved["optimizer"])
        self.lr_scheduler.load_state_dict(saved["lr_scheduler"])
        self.lr_scheduler.lr = learner.optimizer.param_groups[0]["lr"]
        learner.precision.load_state_dict(saved["precision"])
        return TrainState.from_state_dict(saved["train"]), saved["metric"]

    def _load_weights(self, checkpoint: Checkpoint, name: str, module: nn.Module) -> None:
        like = named_tensors(module).get if self._is_sharded else None
        load_named_tensors(module, checkpoint.read(name, like), origin=str(checkpoint.folder))

    def _restore_average(self, checkpoint: Checkpoint) -> None:
        average, saved = self.learner.average, checkpoint.ema
        if average is not None and saved is not None:
            average.load(saved, origin=str(checkpoint.folder))
        elif average is not None:
            logger.warning("%s has no averaged weights: the average begins with the weights of now", checkpoint.folder)
            average.restart()


def training_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint says of its run besides the tensors.

    Raises:
        CheckpointError: It holds weights alone, or is not what a run writes.
    """
    state: dict[str, Any] = checkpoint.state
    if "train" not in state:
        raise CheckpointError(
            f"{checkpoint.folder} holds weights alone, such as an average: no run can go on from it",
            remedy="start another run from its weights: checkpoint.finetune_from=FOLDER, all else reset",
        )
    optimizer = state.get("optimizer")
    is_whole = state.keys() >= _PARTS and isinstance(optimizer, dict) and optimizer.keys() >= {"values", "groups"}
    if not is_whole:
        raise CheckpointError(f"{checkpoint.folder / STATE} is not what a run of seqtrain writes")
    return state


def require_numbers(sums: Mapping[str, float], num_updates: int) -> None:
    """Refuse to go on with losses that say nothing. Those of updates without a step are not among them.

    Raises:
        TrainingError: The loss is not finite, although all gradients were.
    """
    if not math.isfinite(sums.get("loss", 0.0)):
        raise TrainingError(
            f"at update {num_updates} the loss is not finite, although its gradients are: "
            "they are not those of the loss, or vanish where it does not",
            remedy="see what the criterion computes; what was saved before is untouched",
        )
