"""Validation: the loss over a split, and what decoding it measures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from seqtrain.config.root import BatchingConfig
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import Dataset, IterationOptions
from seqtrain.training.distributed import Processes, sum_by_name
from seqtrain.training.metrics import MetricSums, loss_measures
from seqtrain.training.step import LossFunction

logger = logging.getLogger(__name__)


class ValidationInterruptedError(Exception):
    """A stop was asked for in the middle of a validation, whose measures are then not known."""


@dataclass(frozen=True)
class Validator:
    """Measures a model on a split.

    Attributes:
        losses: The model, the criterion and how they run.
        processes: Who validates together, each its share.
        batching: The limits of a batch.
        max_positions: The longest source and target.
        decode: Writes a split's hypotheses, in its order; None measures losses alone.
        num_examples_shown: Decoded examples to log.
        must_stop: Asked between two batches, by all processes at the same one.
    """

    losses: LossFunction
    processes: Processes
    batching: BatchingConfig
    max_positions: tuple[int, int]
    decode: Callable[[str], list[str]] | None
    num_examples_shown: int = 0
    must_stop: Callable[[], bool] = lambda: False

    def measure(self, split: str) -> dict[str, float]:
        """All measures of a split.

        Raises:
            ValidationInterruptedError: A stop was asked for.
            DataError: There is no such split.
        """
        module = self.losses.module
        was_training = module.training
        module.eval()
        try:
            with torch.no_grad():  # not inference_mode: a table that grows in here serves training afterwards
                sums = self._sum_losses(split)
                measures = {**loss_measures(sums), **self.losses.task.measure_sums(sums)}
                references = self.losses.task.references(split) if self.decode is not None else None
                if self.decode is not None and references is not None:
                    hypotheses = self.decode(split)
                    if self.processes.is_first:
                        self._show(hypotheses, references)
                    measures.update(self.losses.task.measure_text(hypotheses, references))
        finally:
            module.train(was_training)
        return measures

    def _sum_losses(self, split: str) -> dict[str, float]:
        task = self.losses.task
        options = IterationOptions(
            batching=self.batching,
            max_positions=self.max_positions,
            shuffle=False,
            rank=self.processes.rank,
            world_size=self.processes.world_size,
            pin_memory=self.losses.device.type == "cuda",
        )
        iterator = task.get_batch_iterator(task.dataset(split), options)
        sums = MetricSums()
        try:
            for batches in iterator:
                for batch in batches:
                    if self.must_stop():
                        raise ValidationInterruptedError
                    output = task.valid_step(batch.to(self.losses.device), self.losses.module.model, self.losses.loss)
                    if not batch.is_filler:
                        sums.add_output(output, num_tokens=batch.num_tokens, num_sentences=len(batch))
        finally:
            iterator.close()
        for reason, count in iterator.filtered.items():
            logger.warning("%s: %d examples are left out: %s", split, count, reason)
        return sum_by_name(self.processes, sums.read())

    def _show(self, hypotheses: Sequence[str], references: Sequence[str]) -> None:
        for hypothesis, reference in list(zip(hypotheses, references, strict=True))[: self.num_examples_shown]:
            logger.info("reference:  %s\nhypothesis: %s", reference, hypothesis)


@dataclass(frozen=True)
class ShareOfDataset:
    """One process's share of a dataset: every so many-th example. A stop that is asked for interrupts reading it."""

    dataset: Dataset
    processes: Processes
    must_stop: Callable[[], bool]

    @property
    def lengths(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """See `Dataset`."""
        return self.dataset.lengths[self.processes.rank :: self.processes.world_size]

    @property
    def length_table(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """See `Dataset`."""
        return self.lengths

    @property
    def fingerprint(self) -> str:
        """See `Dataset`."""
        return self.dataset.fingerprint

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.lengths)

    def collate(self, indices: np.ndarray[Any, np.dtype[np.int64]]) -> Batch:
        """Gather a batch.

        Raises:
            ValidationInterruptedError: A stop was asked for.
        """
        if self.must_stop():
            raise ValidationInterruptedError
        batch = self.dataset.collate(indices * self.processes.world_size + self.processes.rank)
        return replace(batch, ids=torch.from_numpy(indices))  # as numbers of this share


def decode_together(
    decode: Callable[[Dataset], list[str]], dataset: Dataset, processes: Processes, must_stop: Callable[[], bool]
) -> list[str]:
    """Decode a dataset, each process its share.

    Args:
        decode: The best hypothesis of each example of a dataset, in its order.
        dataset: The whole.
        processes: Who decodes.
        must_stop: Asked between two batches; not by all processes at the same one.

    Returns:
        The hypotheses of the whole dataset, in its order, in every process.

    Raises:
        ValidationInterruptedError: A stop was asked for in one of them.
    """
    try:
        mine: list[str] | None = decode(ShareOfDataset(dataset, processes, must_stop))
    except ValidationInterruptedError:
        mine = None
    shares = processes.gather(mine)
    if None in shares:
        raise ValidationInterruptedError
    return [shares[number % len(shares)][number // len(shares)] for number in range(len(dataset))]
