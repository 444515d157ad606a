"""Pairs of a source and a target: the dataset of translation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from seqtrain.data.batch import Batch
from seqtrain.data.collate import Slices, make_batch
from seqtrain.data.packed_batch import make_packed_batch
from seqtrain.data.packing import PackedShape
from seqtrain.data.tokens import IntArray, TokenTable
from seqtrain.data.vocabulary import Vocabulary

Sequences = Sequence[Sequence[int] | np.ndarray]


class PairDataset:
    """Source and target sequences, each ended by the end symbol.

    Attributes:
        source: The source sequences, or None for targets alone.
        target: The target sequences.
        length_table: Tokens of each source (0 without sources) and target.
    """

    def __init__(self, source: TokenTable | None, target: TokenTable, *, first_token: int = Vocabulary.eos) -> None:
        """Pair the sequences up.

        Args:
            source: See the attribute.
            target: See the attribute.
            first_token: What the decoder reads before it predicts the first target.
        """
        assert source is None or len(source) == len(target), "as many sources as targets"
        self.source = source
        self.target = target
        self._first_token = first_token
        self.length_table = PairLengths(source, target)

    @classmethod
    def from_lists(
        cls, sources: Sequences | None, targets: Sequences, *, first_token: int = Vocabulary.eos
    ) -> PairDataset:
        """Make a dataset of token numbers, each list ended by the end symbol (`Vocabulary.encode` appends it)."""
        source = None if sources is None else TokenTable.from_lists(sources)
        return cls(source, TokenTable.from_lists(targets), first_token=first_token)

    @cached_property
    def lengths(self) -> IntArray:
        """(num_pairs, 2) int64: all of `length_table`."""
        return self.length_table[:].astype(np.int64)

    @property
    def fingerprint(self) -> str:
        """A digest of the content."""
        tables = [table for table in (self.source, self.target) if table is not None]
        return hashlib.sha256(" ".join(table.fingerprint for table in tables).encode()).hexdigest()

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.target)

    def collate(self, indices: np.ndarray) -> Batch:
        """Gather pairs into one batch, in the order of the indices (B,)."""
        indices = indices.astype(np.int64)
        source = None if self.source is None else _slices(self.source, indices)
        return make_batch(indices, _slices(self.target, indices), first=self._first_token, source=source)

    def collate_packed(self, indices: np.ndarray, shape: PackedShape) -> Batch:
        """Gather pairs into one packed batch, in the order of the indices (B,)."""
        assert self.source is not None, "there are sources"
        indices = indices.astype(np.int64)
        return make_packed_batch(
            indices,
            _slices(self.target, indices),
            _slices(self.source, indices),
            shape=shape,
            first=self._first_token,
        )


class PairLengths:
    """The lengths of pairs, read from the tables when they are asked for."""

    def __init__(self, source: TokenTable | None, target: TokenTable) -> None:
        self._source = source
        self._target = target

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self._target)

    def __getitem__(self, pairs: slice, /) -> np.ndarray:
        """(stop - start, 2) source tokens, 0 without sources, and target tokens; each column lies in a row."""
        target = self._target.lengths_of(pairs)
        source = np.zeros_like(target) if self._source is None else self._source.lengths_of(pairs)
        return np.stack([source, target]).T


def _slices(table: TokenTable, indices: IntArray) -> Slices:
    """Some sequences of a table."""
    return Slices(table.tokens, *table.locate(indices))
