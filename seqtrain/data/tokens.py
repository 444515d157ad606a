"""Sequences of tokens in a row: the form in which all token data is kept, on disk and in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def blocks(offsets: IntArray, num_tokens: int) -> Iterator[tuple[int, int]]:
    """Ranges of sequences that together have at most so many tokens, or one sequence if it has more.

    Args:
        offsets: (N + 1,) where each of N sequences begins, and the end of the last.
        num_tokens: Of a range.
    """
    start = 0
    while start < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + num_tokens, side="right")) - 1
        stop = max(stop, start + 1)
        yield start, stop
        start = stop


def row_positions(starts: IntArray, lengths: IntArray) -> IntArray:
    """The numbers starts[0], starts[0] + 1, ... (lengths[0] of them), starts[1], ...: (N,) int64."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    positions = np.arange(total, dtype=np.int64)
    positions += np.repeat(starts - (ends - lengths), lengths)
    return positions


class TokenTable:
    """N sequences, one after the other in a flat array.

    Attributes:
        tokens: (num_tokens,) of any integer type; often a memory-mapped file.
    """

    def __init__(self, tokens: np.ndarray, offsets: IntArray, *, fingerprint: str | None = None) -> None:
        """Take the arrays as they are.

        Args:
            tokens: See the attribute.
            offsets: See the property.
            fingerprint: A digest of the content, if one is known; else it is computed when it is asked for.
        """
        self.tokens = tokens
        self._offsets = offsets
        self._fingerprint = fingerprint

    @classmethod
    def from_lists(cls, sequences: Sequence[Sequence[int] | np.ndarray]) -> TokenTable:
        """Copy sequences into one table."""
        offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
        tokens = np.empty(int(offsets[-1]), dtype=np.int64)
        for start, sequence in zip(offsets, sequences, strict=False):
            tokens[start : start + len(sequence)] = sequence
        return cls(tokens, offsets)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the content."""
        if self._fingerprint is not None:
            return self._fingerprint
        sha256 = hashlib.sha256((self.offsets - self.offsets[0]).data)
        sha256.update(self.tokens[self.offsets[0] : self.offsets[-1]].astype(np.int64).data)
        return sha256.hexdigest()

    @property
    def offsets(self) -> IntArray:
        """(N + 1,) int64: sequence i is tokens[offsets[i]:offsets[i + 1]]. Of a file it is made when asked for."""
        return self._offsets

    @property
    def lengths(self) -> np.ndarray:
        """(N,) the tokens of each sequence, of any integer type."""
        return self.lengths_of(slice(None))

    def lengths_of(self, sequences: slice) -> np.ndarray:
        """The tokens of each of some sequences, of any integer type."""
        start, stop, _ = sequences.indices(len(self))
        return np.diff(self._offsets[start : stop + 1])

    def locate(self, indices: IntArray) -> tuple[IntArray, IntArray]:
        """Where in `tokens` some sequences begin, and how long they are: (B,) and (B,)."""
        starts = self._offsets[indices]
        return starts, self._offsets[indices + 1] - starts

    def __len__(self) -> int:
        """The number of sequences, N."""
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> IntArray:
        """A copy of one sequence, int64."""
        starts, lengths = self.locate(np.array([index]))
        return self.tokens[starts[0] : starts[0] + lengths[0]].astype(np.int64)

    def part(self, start: int, stop: int) -> TokenTable:
        """The sequences start ... stop - 1, without copying their tokens."""
        return TokenTable(
            self.tokens, self._offsets[start : stop + 1], fingerprint=self._fingerprint_of_part(start, stop)
        )

    def _fingerprint_of_part(self, start: int, stop: int) -> str:
        return hashlib.sha256(f"{self.fingerprint} {start} {stop}".encode()).hexdigest()
