"""Validation: the loss over a split, and what decoding it measures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from seqtrain.config.root import BatchingConfig
from seqtrain.data.dataset import IterationOptions
from seqtrain.training.metrics import MetricSums, loss_measures
from seqtrain.training.step import Learner

logger = logging.getLogger(__name__)


class ValidationInterruptedError(Exception):
    """A stop was asked for in the middle of a validation, whose measures are then not known."""


@dataclass(frozen=True)
class Validator:
    """Measures a model on a split.

    Attributes:
        learner: The model and how it runs.
        batching: The limits of a batch.
        max_positions: The longest source and target.
        decode: Writes a split's hypotheses, in its order; None measures losses alone.
        num_examples_shown: Decoded examples to log.
        must_stop: Asked between two batches.
    """

    learner: Learner
    batching: BatchingConfig
    max_positions: tuple[int, int]
    decode: Callable[[str], list[str]] | None
    num_examples_shown: int
    must_stop: Callable[[], bool]

    def measure(self, split: str) -> dict[str, float]:
        """All measures of a split.

        Raises:
            ValidationInterruptedError: A stop was asked for.
            DataError: There is no such split.
        """
        module = self.learner.module
        was_training = module.training
        module.eval()
        try:
            with torch.no_grad():  # not inference_mode: a table that grows in here serves training afterwards
                sums = self._sum_losses(split)
                measures = {**loss_measures(sums), **self.learner.task.measure_sums(sums)}
                references = self.learner.task.references(split) if self.decode is not None else None
                if self.decode is not None and references is not None:
                    hypotheses = self.decode(split)
                    self._show(hypotheses, references)
                    measures.update(self.learner.task.measure_text(hypotheses, references))
        finally:
            module.train(was_training)
        return measures

    def _sum_losses(self, split: str) -> dict[str, float]:
        task = self.learner.task
        options = IterationOptions(batching=self.batching, max_positions=self.max_positions, shuffle=False)
        iterator = task.get_batch_iterator(task.dataset(split), options)
        sums = MetricSums()
        try:
            for batches in iterator:
                for batch in batches:
                    if self.must_stop():
                        raise ValidationInterruptedError
                    output = task.valid_step(
                        batch.to(self.learner.device), self.learner.module.model, self.learner.loss
                    )
                    sums.add_output(output, num_tokens=batch.num_tokens, num_sentences=len(batch))
        finally:
            iterator.close()
        for reason, count in iterator.filtered.items():
            logger.warning("%s: %d examples are left out: %s", split, count, reason)
        return sums.read()

    def _show(self, hypotheses: Sequence[str], references: Sequence[str]) -> None:
        for hypothesis, reference in list(zip(hypotheses, references, strict=True))[: self.num_examples_shown]:
            logger.info("reference:  %s\nhypothesis: %s", reference, hypothesis)
