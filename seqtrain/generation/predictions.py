"""What a model says of the next tokens, some rows at a time.

Shapes: R rows of the decoder, D features, V entries of the target vocabulary.

All logits of a step at once are more than a CPU's caches hold, and each pass over them would fetch them anew. So they
are made for some rows at a time, and only what the search keeps of them stays.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Distribution", "LazyPredictions", "MeanPredictions", "Predictions", "log_normalizers"]


@dataclass(frozen=True)
class Distribution:
    """Of the next token of some rows: log p = scores - normalizers.

    Attributes:
        scores: (R, V) float32, in memory that the reader may change.
        normalizers: (R, 1) float32, the logarithms of the sums of exp(scores).
    """

    scores: Tensor
    normalizers: Tensor

    def log_probs(self) -> Tensor:
        """(R, V), in the memory of the scores."""
        return self.scores.sub_(self.normalizers)


def log_normalizers(scores: Tensor) -> Tensor:
    """The logarithms of the sums of exp(scores): (R, V) -> (R, 1).

    In base 2: torch's exp2 takes a third of the time of its exp, where that is MKL's on a processor not of Intel.
    """
    if scores.device.type != "cpu":
        return scores.logsumexp(dim=1, keepdim=True)
    greatest = scores.amax(dim=1, keepdim=True)
    powers = torch.add(greatest * -math.log2(math.e), scores, alpha=math.log2(math.e)).exp2_()
    return powers.sum(dim=1, keepdim=True).log_() + greatest


class Predictions(ABC):
    """The distributions of one step."""

    @abstractmethod
    def rows(self, chosen: slice) -> Distribution:
        """Of some rows, which are asked for once."""


class LazyPredictions(Predictions):
    """Of one model.

    Args:
        features: What the output layer reads, row by row.
        logits: The output layer: rows to (R, V).
        temperature: Divides the logits.
        normalize: `log_normalizers`, or what computes the same.
    """

    def __init__(
        self,
        features: Tensor,
        logits: Callable[[Tensor], Tensor],
        temperature: float = 1.0,
        *,
        normalize: Callable[[Tensor], Tensor] = log_normalizers,
    ) -> None:
        self._features = features
        self._logits = logits
        self._temperature = temperature
        self._normalize = normalize

    def rows(self, chosen: slice) -> Distribution:
        """See `Predictions`."""
        features = self._features[chosen]
        logits = self._logits(features)
        scores = logits.to(torch.float32, copy=logits is features)
        if self._temperature != 1:
            scores = scores / self._temperature
        return Distribution(scores, self._normalize(scores))


class MeanPredictions(Predictions):
    """The mean of the probabilities of several models over one vocabulary."""

    def __init__(self, members: Sequence[Predictions]) -> None:
        self._members = members

    def rows(self, chosen: slice) -> Distribution:
        """See `Predictions`."""
        mean = mean_of_probabilities([member.rows(chosen).log_probs() for member in self._members])
        return Distribution(mean, mean.new_zeros(len(mean), 1))


def mean_of_probabilities(log_probs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of n probabilities: logsumexp(log p) - log n."""
    return torch.logsumexp(torch.stack(list(log_probs)), dim=0) - math.log(len(log_probs))
