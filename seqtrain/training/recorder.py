"""What a run measures on its way: sums between two rows, the rows themselves, and which batches it saw."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from seqtrain.data.batch import Batch
from seqtrain.tasks.base import Task
from seqtrain.training.distributed import Processes, sum_by_name
from seqtrain.training.metrics import MetricSums, loss_measures
from seqtrain.training.progress import Display
from seqtrain.training.spikes import watch_loss
from seqtrain.training.state import TrainState
from seqtrain.training.utilization import Utilization, token_counts


class RowWriter(Protocol):
    """Takes the rows of metrics: metrics.jsonl, TensorBoard, a display."""

    def append(self, row: Mapping[str, Any]) -> None:
        """Take one row."""
        ...


@dataclass(frozen=True)
class Outputs:
    """Where a run's measures go, and what they are compared with.

    Attributes:
        writers: What takes rows of metrics; none in the processes that do not own the run folder.
        display: The screen.
        batch_writer: Takes a row about each update's batches; None where that is not wanted.
        utilization: Of the model on the machine; None where the machine's peak is not known.
    """

    writers: Sequence[RowWriter]
    display: Display
    batch_writer: RowWriter | None = None
    utilization: Utilization | None = None


class Recorder:
    """Sums the measures of updates and writes rows of them.

    Every process adds its own share; the rows hold the sums of all.

    Attributes:
        sums: Since the last row of updates.
    """

    def __init__(self, task: Task, processes: Processes, outputs: Outputs) -> None:
        self.sums = MetricSums()
        self._task = task
        self._processes = processes
        self._outputs = outputs
        self._clock = time.monotonic()

    def restart_clock(self) -> None:
        """Count time from now on."""
        self._clock = time.monotonic()

    def elapsed(self, *, is_training: bool = False) -> float:
        """The seconds since the last call; those of training are what tokens_per_second is made of."""
        now = time.monotonic()
        seconds, self._clock = now - self._clock, now
        if is_training and self._processes.is_first:
            self.sums.add_number("seconds", seconds)
        return seconds

    def total(self) -> dict[str, float]:
        """The sums of all processes since the last row."""
        return sum_by_name(self._processes, self.sums.read())

    def restore(self, sums: Mapping[str, float], device: torch.device) -> None:
        """Take back what `total` gave; it counts once, in the first process."""
        if self._processes.is_first:
            self.sums.restore(sums, device)

    def write_updates(self, state: TrainState, lr: float, *, is_whole: bool = True) -> dict[str, float]:
        """Write the row of the updates since the last one, if there were any.

        Args:
            state: Where the run stands; its loss spikes are counted.
            lr: The learning rate of now.
            is_whole: Whether it is the row of a whole interval, whose loss can be compared with those before.

        Returns:
            The sums of the updates.
        """
        sums = self.total()
        num_updates, num_skipped = sums.get("num_updates", 0), int(sums.get("num_skipped", 0))
        if num_updates + num_skipped == 0:
            return {}
        self.sums = MetricSums()
        learned = {**loss_measures(sums), **self._task.measure_sums(sums)} if num_updates else {"loss": math.nan}
        measures = {
            **learned,
            "grad_norm": sums["grad_norm"] / num_updates if num_updates else math.nan,
            "learning_rate": lr,
            "tokens_per_second": sums.get("num_tokens", 0.0) / max(sums["seconds"], 1e-9),
            **self._utilization(sums),
            "num_skipped": num_skipped,
        }
        if is_whole:
            watch_loss(state, measures["loss"], is_first=self._processes.is_first)
        measures["num_loss_spikes"] = state.num_loss_spikes
        state.row_epoch, state.row_batch = state.epoch, state.next_batch
        self.write_row("train", state, measures)
        return sums

    def _utilization(self, sums: Mapping[str, float]) -> dict[str, float]:
        utilization = self._outputs.utilization
        if utilization is None:
            return {}
        share = utilization.of(token_counts(sums), sums["seconds"], num_devices=self._processes.world_size)
        return {"mfu": share}

    def write_row(self, split: str, state: TrainState, measures: Mapping[str, float]) -> None:
        """Write one row."""
        row = {"split": split, "epoch": state.epoch, "update": state.num_updates, **measures}
        for writer in self._outputs.writers:
            writer.append(row)
        self._outputs.display.show(row)

    def advance(self, num_updates: int) -> None:
        """Show that so many updates are made."""
        self._outputs.display.advance(num_updates)

    def write_batches(self, state: TrainState, batches: Sequence[Batch]) -> None:
        """Write down which examples the update that follows is made of, where that is wanted.

        Args:
            state: As it is before the update.
            batches: This process's.
        """
        if self._outputs.batch_writer is None:
            return
        mine = [[batch.ids.tolist(), _digest(batch)] for batch in batches if not batch.is_filler]
        shares = self._processes.gather(mine)
        dealt = [share[index] for index in range(len(batches)) for share in shares if index < len(share)]
        digest = hashlib.sha256("".join(digest for _, digest in dealt).encode()).hexdigest()
        ids = [ids for ids, _ in dealt]
        row = {"update": state.num_updates + 1, "epoch": state.epoch, "first_batch": state.next_batch}
        if self._processes.is_first:
            self._outputs.batch_writer.append({**row, "ids": ids, "digest": digest})


def _digest(batch: Batch) -> str:
    """Of all tokens of a batch, their places included."""
    digest = hashlib.sha256()
    for tokens in (batch.source_tokens, batch.previous_tokens, batch.targets):
        if tokens is not None:
            digest.update(f"{tuple(tokens.shape)}".encode() + tokens.numpy().tobytes())
    return digest.hexdigest()
