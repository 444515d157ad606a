"""From tokens to a packed batch of a given shape; everything that a GPU would else have to ask for is made here.

Shapes: B sentences; of one side N tokens, R rows, A attention rows of L places; Q segments.
"""

from __future__ import annotations

import numpy as np
import torch

from seqtrain.data.batch import Batch, PackedTokens
from seqtrain.data.collate import shift
from seqtrain.data.packing import PackedShape, SideShape, attention_rows
from seqtrain.data.tokens import IntArray
from seqtrain.data.vocabulary import Vocabulary

__all__ = ["make_packed_batch"]


def make_packed_batch(
    ids: IntArray,
    target: tuple[IntArray, IntArray],
    source: tuple[IntArray, IntArray],
    *,
    shape: PackedShape,
    first: int = Vocabulary.eos,
) -> Batch:
    """Put flat tokens into the rows of a batch.

    Args:
        ids: (B,) the examples' numbers.
        target: Flat target tokens (N,) and their lengths (B,).
        source: Flat source tokens and their lengths.
        shape: Of the batch.
        first: What stands before each target.
    """
    (targets, target_lengths), (sources, source_lengths) = target, source
    place = _Placing(np.stack([source_lengths, target_lengths], axis=1), shape)
    return Batch(
        ids=torch.from_numpy(ids.astype(np.int64)),
        previous_tokens=_row_of_tokens(shift(targets, target_lengths, first), shape.target),
        targets=_row_of_tokens(targets, shape.target),
        target_positions=torch.arange(len(targets)),
        num_tokens=len(targets),
        source_tokens=_row_of_tokens(sources, shape.source),
        source_lengths=torch.from_numpy(source_lengths),
        num_source_tokens=len(sources),
        packed_targets=place(target_lengths, shape.target),
        packed_sources=place(source_lengths, shape.source),
    )


def _row_of_tokens(flat: IntArray, side: SideShape) -> torch.Tensor:
    """(N,) -> (1, R)."""
    rows = np.full((1, side.num_rows), Vocabulary.pad, dtype=np.int64)
    rows[0, : len(flat)] = flat
    return torch.from_numpy(rows)


class _Placing:
    """Places the tokens of the two sides of a batch, which share segments and attention rows."""

    def __init__(self, lengths: IntArray, shape: PackedShape) -> None:
        """Work out what both sides share.

        Args:
            lengths: (B, 2) source and target tokens.
            shape: Of the batch.
        """
        self._shape = shape
        self._attention_rows = attention_rows(lengths, shape)  # (B,)
        numbers = np.arange(shape.num_attention_rows)
        self._first_sentences = np.searchsorted(self._attention_rows, numbers)  # (A,) of each attention row
        rests = [
            (side.num_rows - int(total)) / side.num_columns
            for side, total in zip((shape.source, shape.target), lengths.sum(axis=0), strict=True)
        ]
        self._num_pieces = int(np.ceil(max(rests)))

    def __call__(self, lengths: IntArray, side: SideShape) -> PackedTokens:
        """Place one side, whose sentences have these lengths (B,)."""
        ends = np.cumsum(lengths)
        starts, num_tokens = ends - lengths, int(ends[-1])
        tokens = np.arange(num_tokens)
        numbers = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)  # (N,) of each token's sentence
        columns = np.zeros(side.num_rows, dtype=np.int64)
        columns[:num_tokens] = tokens - starts[numbers]
        row_starts = starts[self._first_sentences[self._attention_rows]]  # the tokens before each one's attention row
        first_places = self._attention_rows * side.row_length + starts - row_starts  # (B,)
        taken = tokens + (first_places - starts)[numbers]  # (N,)
        num_places = self._shape.num_attention_rows * side.row_length
        sequences = np.full(num_places, -1, dtype=np.int32)
        sequences[taken] = numbers
        rows = np.full(num_places, side.num_rows - 1, dtype=np.int64)
        rows[taken] = tokens
        places = np.full(side.num_rows, np.argmax(sequences < 0), dtype=np.int64)
        places[:num_tokens] = taken
        shape = (self._shape.num_attention_rows, side.row_length)
        return PackedTokens(
            bounds=torch.from_numpy(self._bounds(ends, side.num_rows)),
            columns=torch.from_numpy(columns),
            places=torch.from_numpy(places),
            rows=torch.from_numpy(rows).view(shape),
            sequences=torch.from_numpy(sequences).view(shape),
            num_columns=side.num_columns,
        )

    def _bounds(self, ends: IntArray, num_rows: int) -> np.ndarray:
        """(Q + 1,) int32: 0, the ends of the sentences, those of the pieces behind them, and the last again and again.

        The rows behind the last token are cut into pieces, so that none is longer than the longest sentence.
        """
        num_sentences, num_tokens = len(ends), int(ends[-1])
        bounds = np.full(self._shape.num_segments + 1, num_rows, dtype=np.int32)
        bounds[0] = 0
        bounds[1 : num_sentences + 1] = ends
        numbers = np.arange(1, self._num_pieces + 1)
        bounds[num_sentences + 1 : num_sentences + 1 + self._num_pieces] = (
            num_tokens + numbers * (num_rows - num_tokens) // self._num_pieces
        )
        return bounds
