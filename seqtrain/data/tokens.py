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


class TokenTable:
    """N sequences, one after the other in a flat array.

    Attributes:
        tokens: (num_tokens,) of any integer type; often a memory-mapped file.
        offsets: (N + 1,) int64: sequence i is tokens[offsets[i]:offsets[i + 1]].
    """

    def __init__(self, tokens: np.ndarray, offsets: IntArray, *, fingerprint: str | None = None) -> None:
        """Take the arrays as they are.

        Args:
            tokens: See the attribute.
            offsets: See the attribute.
            fingerprint: A digest of the content, if one is known; else it is computed when it is asked for.
        """
        self.tokens = tokens
        self.offsets = offsets
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
    def lengths(self) -> IntArray:
        """(N,) int64: the tokens of each sequence."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        """The number of sequences, N."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> IntArray:
        """A copy of one sequence, int64."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]].astype(np.int64)

    def part(self, start: int, stop: int) -> TokenTable:
        """The sequences start ... stop - 1, without copying their tokens."""
        fingerprint = hashlib.sha256(f"{self.fingerprint} {start} {stop}".encode()).hexdigest()
        return TokenTable(self.tokens, self.offsets[start : stop + 1], fingerprint=fingerprint)
