"""Ratios of paired measurements, and how sure one can be of their median."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A median and the bounds that 95 % of the medians of resampled data lie in."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """Like "2.10 [2.05, 2.16]"."""
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"

    @property
    def width(self) -> float:
        """From bound to bound, as a share of the median."""
        return (self.high - self.low) / self.median

    def contains(self, value: float) -> bool:
        """Whether a value lies between the bounds."""
        return self.low <= value <= self.high


def bootstrap_median(values: Sequence[float]) -> Interval:
    """The median of the values, with its percentile bootstrap interval (Efron, 1979)."""
    samples = np.random.default_rng(1).choice(np.asarray(values), size=(NUM_RESAMPLES, len(values)))
    low, high = np.quantile(np.median(samples, axis=1), [0.025, 0.975])
    return Interval(statistics.median(values), float(low), float(high))
