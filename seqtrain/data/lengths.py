"""The lengths of examples, from which a plan is made: what fits a batch and the model, and what it comes to.

They are read in windows. What is made of a window stays in the processor's cache, and its memory serves the next one,
where arrays of millions of examples would be asked of the system anew each time.

Shapes: N examples, of which M are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqtrain.data.dataset import IterationOptions, Lengths

__all__ = ["WINDOW", "Indices", "KeptLengths", "LengthTotals", "Limits", "filter_by_length", "take_rows"]

WINDOW = 2**18
"""Examples that are looked at in one go."""
Indices = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Limits:
    """What bounds a batch.

    Attributes:
        max_tokens: Sentences times the longest of them on either side, or None.
        max_sentences: Sentences, or None.
        multiple: A batch holds at most so many sentences or a multiple of it.
        max_source: The longest source, in tokens.
        max_target: The longest target, in tokens.
    """

    max_tokens: int | None
    max_sentences: int | None
    multiple: int
    max_source: int
    max_target: int

    @classmethod
    def of(cls, options: IterationOptions) -> Limits:
        """The limits of an epoch."""
        batching = options.batching
        return cls(
            batching.max_tokens, batching.max_sentences, batching.required_batch_size_multiple, *options.max_positions
        )


@dataclass(frozen=True)
class LengthTotals:
    """What some examples come to.

    Attributes:
        num_examples: M.
        totals: Source and target tokens of all examples.
        longest: Source and target tokens of the longest of them.
    """

    num_examples: int = 0
    totals: tuple[int, int] = (0, 0)
    longest: tuple[int, int] = (0, 0)

    def with_lengths(self, lengths: np.ndarray) -> LengthTotals:
        """Those of more examples, (M, 2)."""
        totals, longest = lengths.sum(axis=0, dtype=np.int64), lengths.max(axis=0, initial=0)
        return self + LengthTotals(len(lengths), (int(totals[0]), int(totals[1])), (int(longest[0]), int(longest[1])))

    def __add__(self, other: LengthTotals) -> LengthTotals:
        """Those of both."""
        return LengthTotals(
            self.num_examples + other.num_examples,
            (self.totals[0] + other.totals[0], self.totals[1] + other.totals[1]),
            (max(self.longest[0], other.longest[0]), max(self.longest[1], other.longest[1])),
        )


def filter_by_length(lengths: np.ndarray, limits: Limits) -> tuple[Indices, dict[str, int]]:
    """The examples that fit a batch and the model.

    Args:
        lengths: (N, 2) source and target tokens.
        limits: What is too long.

    Returns:
        The numbers of the examples that are kept, ascending; and how many are left out, by the (first) reason.
    """
    source, target = lengths[:, 0], lengths[:, 1]
    rules = [
        (f"source longer than {limits.max_source} tokens", source, limits.max_source),
        (f"target longer than {limits.max_target} tokens", target, limits.max_target),
    ]
    if limits.max_tokens is not None:
        reason = f"longer than max_tokens={limits.max_tokens}"
        rules += [(reason, source, limits.max_tokens), (reason, target, limits.max_tokens)]
    kept = np.arange(len(lengths), dtype=np.uint32)
    filtered: dict[str, int] = {}
    for reason, sizes, limit in rules:
        if sizes.max(initial=0) > limit:
            fits = sizes[kept] <= limit
            if count := int(np.count_nonzero(~fits)):
                filtered[reason] = filtered.get(reason, 0) + count
            kept = kept[fits]
    return kept, filtered


def take_rows(lengths: np.ndarray, numbers: Indices) -> np.ndarray:
    """lengths[numbers], (N, 2) -> (M, 2), in a sixth of the time where each column lies in a row."""
    return np.stack([lengths[:, side].take(numbers) for side in range(2)]).T


class KeptLengths:
    """The lengths of those of a range of examples that fit a batch and the model.

    Attributes:
        totals: What they come to.
        filtered: How many examples are left out, by the (first) reason.
    """

    def __init__(self, lengths: Lengths, limits: Limits, examples: range) -> None:
        """Look at all once.

        Args:
            lengths: Of the whole dataset, (N, 2) source and target tokens; read a window at a time.
            limits: What is too long.
            examples: The range.
        """
        self._lengths = lengths
        self._limits = limits
        self._examples = examples
        self.totals = LengthTotals()
        filtered = Counter[str]()
        for rows in self._windows():
            kept, left_out = filter_by_length(rows, limits)
            filtered.update(left_out)
            self.totals = self.totals.with_lengths(take_rows(rows, kept) if left_out else rows)
        self.filtered = dict(filtered)

    def __iter__(self) -> Iterator[np.ndarray]:
        """All that is kept, in windows of (M, 2)."""
        for rows in self._windows():
            yield take_rows(rows, filter_by_length(rows, self._limits)[0]) if self.filtered else rows

    def numbers(self) -> Indices:
        """(M,) the examples that are kept, ascending, as numbers in the range."""
        if not self.filtered:
            return np.arange(len(self._examples), dtype=np.uint32)
        kept = [filter_by_length(rows, self._limits)[0] for rows in self._windows()]
        return np.concatenate([numbers + np.uint32(place * WINDOW) for place, numbers in enumerate(kept)])

    def _windows(self) -> Iterator[np.ndarray]:
        stop = self._examples.stop
        for start in range(self._examples.start, stop, WINDOW):
            yield self._lengths[start : min(start + WINDOW, stop)]
