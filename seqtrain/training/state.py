"""Where a run stands: everything that must survive a restart and is no tensor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

from seqtrain.config.versions import Migration
from seqtrain.errors import CheckpointError

STATE_MIGRATIONS = (Migration("training states carry a version", dict),)
"""From each version of a checkpoint's state.json to the next.

A counter that is added with a default which is right for older runs needs no new version; one that is renamed, removed
or counts something else does.
"""

_ALWAYS_SAVED = frozenset(
    {
        "num_updates",
        "epoch",
        "next_batch",
        "num_tokens",
        "num_sentences",
        "training_seconds",
        "pending_validation",
        "pending_epoch_end",
        "best_metric",
        "best_update",
        "num_validations_since_best",
        "last_valid_loss",
        "last_validation_update",
        "interval_sums",
        "data_fingerprint",
        "micro_batches_per_update",
    }
)
"""The counters of version 0: a state without one of them is none."""


@dataclass(kw_only=True)
class TrainState:
    """The counters of a run.

    Attributes:
        num_updates: Optimizer steps, those included that were left out because the gradient was not finite.
        epoch: The epoch that the next update belongs to, counted from 1.
        next_batch: The global micro-batch number, in that epoch, that the next update starts with.
        num_tokens: Target tokens that were trained on, padding not counted.
        num_sentences: Examples that were trained on.
        training_seconds: Wall time spent on training, validation and saving, before restarts included.
        pending_validation: The last update asked for a validation that was interrupted.
        pending_epoch_end: The last update ended an epoch whose end is not yet told to the schedule.
        best_metric: The best value of the validation metric so far.
        best_update: The update at which it was measured.
        num_validations_since_best: Validations in a row that brought nothing better.
        last_valid_loss: The newest validation loss, base 2 per token.
        last_validation_update: When it was measured.
        interval_sums: The sums of the metrics since the last row of metrics.jsonl.
        data_fingerprint: The digest of the training data.
        micro_batches_per_update: Over all ranks; a resumed run must keep it.
        num_skipped: Updates whose step was left out, because their gradient was not finite.
        num_skipped_in_a_row: Those since the last step that was made.
        num_loss_spikes: Rows of metrics.jsonl whose loss was far above the usual.
        recent_losses: The losses of the last rows.
        row_epoch: The epoch in which the next row of metrics.jsonl begins.
        row_batch: The global micro-batch number, in that epoch, with which it begins.
    """

    num_updates: int = 0
    epoch: int = 1
    next_batch: int = 0
    num_tokens: int = 0
    num_sentences: int = 0
    training_seconds: float = 0.0
    pending_validation: bool = False
    pending_epoch_end: bool = False
    best_metric: float | None = None
    best_update: int | None = None
    num_validations_since_best: int = 0
    last_valid_loss: float | None = None
    last_validation_update: int | None = None
    interval_sums: dict[str, float] = field(default_factory=dict)
    data_fingerprint: str = ""
    micro_batches_per_update: int = 1
    num_skipped: int = 0
    num_skipped_in_a_row: int = 0
    num_loss_spikes: int = 0
    recent_losses: list[float] = field(default_factory=list)
    row_epoch: int = 1
    row_batch: int = 0

    @property
    def pending(self) -> tuple[bool, bool]:
        """What is still to do after the last update: a validation, the end of an epoch."""
        return self.pending_validation, self.pending_epoch_end

    def record_validation(self, value: float, *, maximize: bool) -> bool:
        """Take note of a validation metric.

        Returns:
            Whether it is the best so far. An equal value is not better, neither for the checkpoint nor for patience.
        """
        best = self.best_metric
        is_better = best is None or (value > best if maximize else value < best)
        if is_better:
            self.best_metric, self.best_update, self.num_validations_since_best = value, self.num_updates, 0
        else:
            self.num_validations_since_best += 1
        return is_better

    def state_dict(self) -> dict[str, Any]:
        """The counters as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> Self:
        """The counters that `state_dict` gave; those that were added since have their defaults.

        Raises:
            CheckpointError: A counter is missing that every version has saved, or there is one that this version does
                not know.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        different = (_ALWAYS_SAVED - set(state)) | (set(state) - known)
        if different:
            raise CheckpointError(
                "the checkpoint's training state has other counters than this version of seqtrain: "
                + ", ".join(sorted(different)),
                remedy="use the version that wrote it, or start from its weights: checkpoint.finetune_from=FOLDER",
            )
        return cls(**state)
