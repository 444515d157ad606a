"""The training loop: epochs of updates, and what is due after each of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from seqtrain.config.registry import suggest
from seqtrain.config.root import BatchForm, TrainConfig
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.loader import BatchIterator
from seqtrain.errors import ConfigError
from seqtrain.training.checkpoint import Checkpoint
from seqtrain.training.delivery import Courier, Delivery
from seqtrain.training.guard import GuardOptions, UpdateGuard, WatchedUpdate
from seqtrain.training.memory import explaining_out_of_memory
from seqtrain.training.recorder import Outputs, Recorder
from seqtrain.training.saving import Saver, require_numbers
from seqtrain.training.signals import SharedStop
from seqtrain.training.state import TrainState
from seqtrain.training.step import UpdateOptions, UpdateResult, run_update
from seqtrain.training.stopwatch import Phase
from seqtrain.training.validation import ValidationInterruptedError, Validator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """What the trainer talks to.

    Attributes:
        outputs: Where measures go.
        stop: Whether a signal asked for an end.
        validator: Measures the validation split; None where the run does not validate.
    """

    outputs: Outputs
    stop: SharedStop
    validator: Validator | None


class Trainer:
    """Trains until a limit is reached or a stop is asked for.

    All that must survive a restart is in `state`, the sums of the recorder, and what the saver saves. Several processes
    run the same trainer, each with its share of every update, and decide the same: what they decide by is agreed on.
    """

    def __init__(
        self, config: TrainConfig, saver: Saver, surroundings: Surroundings, *, max_positions: tuple[int, int]
    ) -> None:
        self.config = config
        self.saver = saver
        self.learner = saver.learner
        self.lr_scheduler = saver.lr_scheduler
        self.surroundings = surroundings
        self.max_positions = max_positions
        self.state = TrainState()
        self.recorder = Recorder(self.learner.task, self.learner.processes, surroundings.outputs)
        guard_options = GuardOptions.of(config.training, saver.keeper.folder.parent, self.learner.device)
        self.guard = UpdateGuard(self.learner, guard_options)
        self._courier = Courier(self.learner.device, self._explaining_out_of_memory)
        self._metric: float | None = None  # of a validation at the present update
        self._last_save_update: int | None = None
        self._last_save_seconds = 0.0

    # The flow

    def fit(self) -> str:
        """Train.

        Returns:
            Why training ended: the limit that was reached, or the name of the signal that asked for it.

        Raises:
            TrainingError: Gradients or the loss are no longer finite.
            CheckpointError: A checkpoint could not be written.
        """
        with self.saver.writer:
            return self._train()

    def _train(self) -> str:
        """Make epochs until there is a reason to end."""
        self.learner.module.train()
        if self.state.num_updates == 0:
            self._set_lr(self.lr_scheduler.step_update(0))
        self.recorder.restart_clock()
        reason = self._settle()  # what an interrupted run had still to do
        while reason is None:
            reason = self._train_epoch()
        self.learner.stopwatch.close()
        return reason

    def _train_epoch(self) -> str | None:
        """Make the updates of one epoch, or of what is left of it; the reason to end, if there is one."""
        state = self.state
        iterator = self._batch_iterator()
        try:
            updates = self.learner.stopwatch.updates(iter(iterator))
            for delivery in self._courier.deliver(updates):
                result = self._update(delivery)
                state.num_tokens += result.num_tokens
                state.num_sentences += result.num_sentences
                state.next_batch += state.micro_batches_per_update
                state.pending_epoch_end = state.next_batch >= iterator.num_batches
                state.pending_validation = self._validation_is_due(counts=result.outcome.counts)
                self._set_lr(self.lr_scheduler.step_update(state.num_updates))
                state.training_seconds += self.recorder.elapsed(is_training=True)
                reason = self._settle()
                self.recorder.advance(state.num_updates)
                if reason is not None:
                    return reason
        finally:
            iterator.close()
        return None

    def _update(self, delivery: Delivery) -> UpdateResult:
        """Make one update of this process's micro-batches, and watch what became of it."""
        training, learner, state = self.config.training, self.learner, self.state
        batches = delivery.batches
        self.recorder.write_batches(state, batches)
        with self._explaining_out_of_memory(batches):
            result = run_update(
                learner,
                delivery.on_device,
                self.recorder.sums,
                options=UpdateOptions(clip_norm=training.clip_norm, seed=training.seed),
                first_batch=(state.epoch, state.next_batch),
            )
        state.num_updates += int(result.outcome.counts)
        if result.outcome.counts and learner.average is not None:
            learner.average.update(state.num_updates, result.outcome.skipped)
        self.guard.watch(WatchedUpdate(state.num_updates, state.epoch, state.next_batch, batches), result.outcome)
        self.guard.count(state)
        return result

    def _explaining_out_of_memory(self, batches: Sequence[Batch]) -> AbstractContextManager[None]:
        """Around what needs memory for the batches of an update, this one or one that is copied ahead."""
        return explaining_out_of_memory(
            batches,
            self.config,
            update=self.state.num_updates + 1,
            process=self.learner.processes.rank,
            device=self.learner.device,
        )

    def _settle(self) -> str | None:
        """Do what is due after an update, and tell why the run ends there, if it does.

        A stop that comes in the middle of a validation leaves the rest to the resumed run, which begins with this.
        """
        state, stop = self.state, self.surroundings.stop
        self.saver.writer.check()
        state.training_seconds = stop.agree(state.training_seconds)
        is_saved, pending = self._last_save_update == state.num_updates, state.pending
        self._metric, save_is_due = None, False
        if state.num_updates % self.config.logging.interval_updates == 0:
            self._write_updates()
        if state.pending_validation:
            save_is_due = self._validate()
        if state.pending_epoch_end and not stop:
            save_is_due |= self._end_epoch()
        reason = self._end_reason()
        if reason is not None and not stop:
            self._write_updates()
            if state.last_validation_update != state.num_updates and self.surroundings.validator is not None:
                state.pending_validation = True
                self._validate()
            save_is_due = True
        is_new = not is_saved or pending != state.pending
        if is_new and (stop or save_is_due or self._save_is_due()):
            self.save()
        state.training_seconds += self.recorder.elapsed()
        return stop.signal_name or reason

    def _end_epoch(self) -> bool:
        """Tell the schedule; whether a checkpoint is due."""
        state = self.state
        save_is_due = _divides(self.config.checkpoint.save_interval_epochs, state.epoch)
        self._set_lr(self.lr_scheduler.step(state.epoch, state.last_valid_loss))
        state.epoch, state.next_batch, state.pending_epoch_end = state.epoch + 1, 0, False
        return save_is_due

    def _save_is_due(self) -> bool:
        """Whether an interval of updates or minutes has passed."""
        config, state = self.config.checkpoint, self.state
        minutes, since = config.save_interval_minutes, state.training_seconds - self._last_save_seconds
        if minutes is not None and since >= 60 * minutes:
            return True
        return _divides(config.save_interval_updates, state.num_updates)

    def _end_reason(self) -> str | None:
        """Which limit is reached, or which signal came; None to go on."""
        training, state = self.config.training, self.state
        if self.surroundings.stop:
            return self.surroundings.stop.signal_name
        if training.max_updates is not None and state.num_updates >= training.max_updates:
            return f"training.max_updates={training.max_updates}"
        if training.max_epochs is not None and state.epoch > training.max_epochs:
            return f"training.max_epochs={training.max_epochs}"
        if training.stop_time_hours is not None and state.training_seconds >= 3600 * training.stop_time_hours:
            return f"training.stop_time_hours={training.stop_time_hours}"
        patience = self.config.validation.patience
        if patience is not None and state.num_validations_since_best >= patience:
            return f"validation.patience={patience}"
        return None

    # Data

    def _batch_iterator(self) -> BatchIterator:
        task, processes, state = self.learner.task, self.learner.processes, self.state
        options = IterationOptions(
            batching=self.config.batching,
            max_positions=self.max_positions,
            seed=self.config.training.seed,
            epoch=state.epoch,
            update_freq=state.micro_batches_per_update // processes.world_size,
            rank=processes.rank,
            world_size=processes.world_size,
            first_batch=state.next_batch,
            packed=self.config.batching.form is BatchForm.packed,
            pin_memory=self.learner.device.type == "cuda",
        )
        iterator = task.get_batch_iterator(task.dataset("train"), options)
        if iterator.num_batches == 0:
            reasons = ", ".join(f"{count} are {reason}" for reason, count in iterator.filtered.items())
            raise ConfigError(
                f"no training example is left: {reasons or 'the split is empty'}",
                remedy="raise batching.max_tokens, or the longest source and target that the task takes",
            )
        if state.num_updates == 0:
            logger.info("train: %d examples, %d updates an epoch", iterator.num_examples, iterator.num_updates)
            for reason, count in iterator.filtered.items():
                logger.warning("train: %d examples are left out: %s", count, reason)
        return iterator

    # Measures

    def _set_lr(self, lr: float) -> None:
        self.lr_scheduler.lr = lr
        for group in self.learner.optimizer.param_groups:
            group["lr"] = lr

    def _write_updates(self) -> None:
        """Write the row of the updates since the last one."""
        is_whole = self.state.num_updates % self.config.logging.interval_updates == 0
        sums = self.recorder.write_updates(self.state, self.lr_scheduler.lr, is_whole=is_whole)
        require_numbers(sums, self.state.num_updates)

    # Validation

    def _validation_is_due(self, *, counts: bool) -> bool:
        config, state = self.config.validation, self.state
        return (counts and _divides(config.interval_updates, state.num_updates)) or (
            state.pending_epoch_end and _divides(config.interval_epochs, state.epoch)
        )

    def _validate(self) -> bool:
        """Measure the validation split; whether that makes a checkpoint due.

        A stop in the middle leaves `pending_validation` as it is.
        """
        state = self.state
        if self.surroundings.validator is None:
            state.pending_validation = False
            return False
        try:
            with self.learner.stopwatch.during(Phase.validation), self.learner.averaged_weights():
                measures = self.surroundings.validator.measure("valid")
        except ValidationInterruptedError:
            return False
        state.pending_validation = False
        state.last_validation_update = state.num_updates
        state.last_valid_loss = measures["loss"] if math.isfinite(measures["loss"]) else None
        self.recorder.write_row("valid", state, measures)
        self._metric = self._choose_metric(measures)
        is_best = self._metric is not None and state.record_validation(
            self._metric, maximize=self.config.validation.maximize
        )
        return is_best and self.config.checkpoint.keep_best > 0

    def _choose_metric(self, measures: Mapping[str, float]) -> float | None:
        name = self.config.validation.metric
        if name not in measures:
            self.save()  # the updates up to here are not lost with a mistyped name
            raise ConfigError(
                f"validation.metric={name} is not among what was measured: {', '.join(measures)}",
                remedy=suggest(name, measures) or "set validation.metric to one of them",
            )
        return measures[name] if math.isfinite(measures[name]) else None

    # Checkpoints

    def save(self) -> None:
        """Write a checkpoint of this moment.

        Raises:
            TrainingError: The loss is not a number: what would be saved is of no use.
        """
        state = self.state
        self.guard.count(state, is_all=True)
        self._last_save_update, self._last_save_seconds = state.num_updates, state.training_seconds
        state.training_seconds += self.recorder.elapsed()  # not yet agreed on, and must not decide when to save next
        state.interval_sums = self.recorder.total()
        with self.learner.stopwatch.during(Phase.checkpoint):
            self.saver.save(state, metric=self._metric)

    def begin(self) -> None:
        """Count from what the state says, which is another run's in part."""
        self.recorder.restore(self.state.interval_sums, self.learner.device)
        self._last_save_seconds = self.state.training_seconds

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from where a checkpoint was written.

        Raises:
            CheckpointError: The checkpoint belongs to another model, or to other data.
        """
        self.state, self._metric = self.saver.restore(checkpoint)
        self.recorder.restore(self.state.interval_sums, self.learner.device)
        self._last_save_update, self._last_save_seconds = self.state.num_updates, self.state.training_seconds


def _divides(interval: int | None, number: int) -> bool:
    return interval is not None and number > 0 and number % interval == 0
