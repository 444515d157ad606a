"""Keeps watch over updates whose step was left out: counts them, and ends a run that makes no other.

The batch to blame is then written aside, and the layer named; see `seqtrain.training.skipping` for the step itself.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from seqtrain.config.root import TrainingConfig
from seqtrain.data.batch import Batch
from seqtrain.errors import TrainingError
from seqtrain.files import write_bytes_atomically, write_text_atomically
from seqtrain.training.diagnosis import Finding, diagnose, first_bad_weight
from seqtrain.training.skipping import HostCopy, StepOutcome, forget_update
from seqtrain.training.state import TrainState
from seqtrain.training.step import Learner

__all__ = ["GuardOptions", "UpdateGuard", "WatchedUpdate", "require_finite_weights"]

logger = logging.getLogger(__name__)

BAD_BATCHES = "bad_batches"
_REMEDY = (
    "lower optimizer.lr, lengthen the warm-up, set training.clip_norm, or use training.precision=fp32; "
    "what was saved before is untouched"
)
_UPDATES_BEHIND = 2  # on CUDA: enough for the host never to wait, and the same number in all processes


@dataclass(frozen=True)
class GuardOptions:
    """When to give up, and where to write why.

    Attributes:
        max_in_a_row: Updates in a row without a step, at which the run ends; None goes on for ever.
        seed: Of the run.
        folder: Of the run.
        num_behind: How many updates later an outcome is looked at.
    """

    max_in_a_row: int | None
    seed: int
    folder: Path
    num_behind: int = 0

    @classmethod
    def of(cls, training: TrainingConfig, folder: Path, device: torch.device) -> GuardOptions:
        """Those of a run."""
        is_behind = device.type == "cuda"
        return cls(training.max_nonfinite_updates, training.seed, folder, _UPDATES_BEHIND if is_behind else 0)


@dataclass(frozen=True)
class WatchedUpdate:
    """One update of this process.

    Attributes:
        number: Of the update.
        epoch: Which it belongs to.
        first_batch: The global number of its first micro-batch in that epoch.
        batches: This process's micro-batches.
    """

    number: int
    epoch: int
    first_batch: int
    batches: Sequence[Batch]


class UpdateGuard:
    """Counts the updates without a step.

    On CUDA the host learns what became of an update some updates later, when the answer has long arrived. All processes
    learn it at the same one, for what they decide by is the norm of the gradient, which they share.
    """

    def __init__(self, learner: Learner, options: GuardOptions) -> None:
        self._learner = learner
        self._options = options
        self._watched: deque[tuple[WatchedUpdate, StepOutcome, HostCopy]] = deque()

    def watch(self, update: WatchedUpdate, outcome: StepOutcome) -> None:
        """Take note of an update that was just made."""
        self._watched.append((update, outcome, HostCopy(outcome.is_bad)))

    def count(self, state: TrainState, *, is_all: bool = False) -> None:
        """Count the updates whose outcome is known by now.

        Args:
            state: Has the counters.
            is_all: Wait for all of them, because the state is to be saved.

        Raises:
            TrainingError: So many in a row had no step that the run cannot go on.
        """
        while len(self._watched) > (0 if is_all else self._options.num_behind):
            update, outcome, copy = self._watched.popleft()
            is_bad = copy.read()
            if is_bad and isinstance(outcome.skipped, Tensor):
                forget_update(self._learner.optimizer)
            is_skipped = is_bad if isinstance(outcome.skipped, Tensor) else outcome.skipped
            state.num_skipped += is_skipped
            if is_bad:
                self._count_bad(state, update)
            elif not is_skipped:
                state.num_skipped_in_a_row = 0

    def _count_bad(self, state: TrainState, update: WatchedUpdate) -> None:
        state.num_skipped_in_a_row += 1
        if self._learner.processes.is_first:
            logger.warning(
                "update %d: the gradient is not finite, and its step is left out (%d in a row)",
                update.number,
                state.num_skipped_in_a_row,
            )
        if state.num_skipped_in_a_row == self._options.max_in_a_row:
            self._give_up(update)

    def _give_up(self, update: WatchedUpdate) -> None:
        """Find the batch and the layer, and end the run; all processes do so together.

        Raises:
            TrainingError: Always.
        """
        processes = self._learner.processes
        suspects = [suspect for share in processes.gather(self._suspects(update)) for suspect in share]
        guilty = [suspect for suspect in suspects if suspect["is_bad_here"]]
        guilty = guilty or [suspect for suspect in suspects if suspect["is_bad"]]
        folder = self._options.folder / BAD_BATCHES / f"update_{update.number:08d}"
        if processes.is_first:
            _write_aside(folder, guilty or suspects)
        raise TrainingError(
            f"{self._options.max_in_a_row} updates in a row had no finite gradient, the last of them update "
            f"{update.number} in epoch {update.epoch}{self._scale}. {_describe(guilty)}. See {folder}",
            remedy=_REMEDY,
        )

    @property
    def _scale(self) -> str:
        precision = self._learner.precision
        return f", with a loss scale of {precision.loss_scale:g}" if precision.is_scaled else ""

    def _suspects(self, update: WatchedUpdate) -> list[dict[str, Any]]:
        """What this process's micro-batches look like when they are computed again, as JSON values."""
        processes, seed = self._learner.processes, self._options.seed
        suspects = []
        for index, batch in enumerate(update.batches):
            number = update.first_batch + index * processes.world_size + processes.rank
            finding = diagnose(self._learner, batch, seed=(seed, update.epoch, number))
            if batch.is_filler:
                continue
            facts = {
                "update": update.number,
                "epoch": update.epoch,
                "batch": number,
                "process": processes.rank,
                "examples": batch.ids.tolist(),
                "seed": seed,
                "loss_scale": self._learner.precision.loss_scale,
                **finding.state_dict(),
            }
            suspects.append(_suspect(batch, finding, facts))
        return suspects


def _describe(guilty: Sequence[dict[str, Any]]) -> str:
    if not guilty:
        return "Computed again, each of its batches is finite by itself: it is their sum that is not"
    first = min(guilty, key=lambda suspect: int(suspect["facts"]["batch"]))
    return f"Of its batch {first['facts']['batch']} (process {first['facts']['process']}), {first['text']}"


def _suspect(batch: Batch, finding: Finding, facts: dict[str, Any]) -> dict[str, Any]:
    tensors = {name: value.tolist() for name, value in _tensors_of(batch).items()}
    return {
        "is_bad": finding.is_bad,
        "is_bad_here": finding.is_bad_here,
        "text": str(finding),
        "facts": facts,
        "tensors": tensors,
    }


def _tensors_of(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _write_aside(folder: Path, suspects: Sequence[dict[str, Any]]) -> None:
    """Write batches, each as its tensors and what is known of it.

    Raises:
        DiskError: There is no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for suspect in suspects:
        name = f"batch_{suspect['facts']['batch']}"
        tensors = {key: torch.tensor(value) for key, value in suspect["tensors"].items()}
        write_bytes_atomically(folder / f"{name}.safetensors", tensors_to_bytes(tensors))
        write_text_atomically(folder / f"{name}.json", json.dumps(suspect["facts"], indent=1, allow_nan=False) + "\n")


def require_finite_weights(learner: Learner, num_updates: int) -> None:
    """Refuse to save a model that is spoilt; all processes ask together.

    Raises:
        TrainingError: A parameter is not finite.
    """
    name = first_bad_weight(learner.module)
    names = [other for other in learner.processes.gather(name) if other is not None]
    if names:
        raise TrainingError(
            f"at update {num_updates} the parameter {names[0]} is not finite: nothing is saved of it",
            remedy=_REMEDY,
        )
