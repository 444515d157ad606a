"""Pairs of a source and a target: the dataset of translation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from seqtrain.data.batch import Batch
from seqtrain.data.collate import gather, make_batch
from seqtrain.data.tokens import IntArray, TokenTable
from seqtrain.data.vocabulary import Vocabulary

Sequences = Sequence[Sequence[int] | np.ndarray]


class PairDataset:
    """Source and target sequences, each ended by the end symbol.

    Attributes:
        source: The source sequences, or None for targets alone.
        target: The target sequences.
        lengths: (num_pairs, 2) int64: tokens of each source (0 without sources) and target.
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
        self.lengths: IntArray = np.zeros((len(target), 2), dtype=np.int64)
        if source is not None:
            self.lengths[:, 0] = source.lengths
        self.lengths[:, 1] = target.lengths

    @classmethod
    def from_lists(
        cls, sources: Sequences | None, targets: Sequences, *, first_token: int = Vocabulary.eos
    ) -> PairDataset:
        """Make a dataset of token numbers, each list ended by the end symbol (`Vocabulary.encode` appends it)."""
        source = None if sources is None else TokenTable.from_lists(sources)
        return cls(source, TokenTable.from_lists(targets), first_token=first_token)

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
        source = None if self.source is None else _rows(self.source, indices)
        return make_batch(indices, _rows(self.target, indices), first=self._first_token, source=source)


def _rows(table: TokenTable, indices: IntArray) -> tuple[IntArray, IntArray]:
    """The tokens of some sequences in a row, (N,), and their lengths (B,)."""
    starts = table.offsets[indices]
    lengths = table.offsets[indices + 1] - starts
    return gather(table.tokens, starts, lengths), lengths
