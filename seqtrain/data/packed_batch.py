"""From tokens to a packed batch of a given shape; everything that a GPU would else have to ask for is made here.

A batch of some thousand tokens costs as much for the number of numpy's calls as for the tokens: there are few calls.

Shapes: B sentences; of one side N tokens, R rows, A attention rows of L places; Q segments.
"""

from __future__ import annotations

import numpy as np
import torch

from seqtrain.data.batch import Batch, PackedTokens
from seqtrain.data.collate import Slices
from seqtrain.data.packing import PackedShape, SideShape, attention_row_bounds
from seqtrain.data.tokens import IntArray
from seqtrain.data.vocabulary import Vocabulary

__all__ = ["make_packed_batch"]


def make_packed_batch(
    ids: IntArray, target: Slices, source: Slices, *, shape: PackedShape, first: int = Vocabulary.eos
) -> Batch:
    """Gather slices into the rows of a batch.

    Args:
        ids: (B,) the examples' numbers.
        target: The target tokens.
        source: The source tokens.
        shape: Of the batch.
        first: What stands before each target.
    """
    sources, targets = _Side(source, shape.source), _Side(target, shape.target)
    row_bounds = attention_row_bounds((sources.offsets, targets.offsets), shape)
    num_pieces = max(side.num_pieces for side in (sources, targets))
    target_row = targets.row_of_tokens()
    return Batch(
        ids=torch.from_numpy(ids),
        previous_tokens=torch.from_numpy(targets.shifted(target_row, first)),
        targets=torch.from_numpy(target_row),
        target_positions=torch.from_numpy(targets.tokens),
        num_tokens=targets.num_tokens,
        source_tokens=torch.from_numpy(sources.row_of_tokens()),
        source_lengths=torch.from_numpy(source.lengths),
        num_source_tokens=sources.num_tokens,
        packed_targets=targets.placed(row_bounds, num_pieces, shape.num_segments),
        packed_sources=sources.placed(row_bounds, num_pieces, shape.num_segments),
    )


class _Side:
    """The tokens of one side of a batch.

    Attributes:
        offsets: (B + 1,) the row where each sentence begins, and the end of the last.
        num_tokens: N, less than R.
        tokens: (N,) the numbers from 0 on.
    """

    def __init__(self, slices: Slices, shape: SideShape) -> None:
        """Put sentences one after the other.

        Args:
            slices: Their tokens.
            shape: The sizes of the side.
        """
        self._slices = slices
        self._shape = shape
        self.offsets = np.zeros(len(slices.lengths) + 1, dtype=np.int64)
        slices.lengths.cumsum(out=self.offsets[1:])
        self.num_tokens = int(self.offsets[-1])
        self.tokens = np.arange(self.num_tokens)

    @property
    def num_pieces(self) -> int:
        """Into how many segments the rows without a token must be cut, for none to be longer than a sentence can be."""
        return -(-(self._shape.num_rows - self.num_tokens) // self._shape.num_columns)

    def row_of_tokens(self) -> IntArray:
        """(1, R), gathered at once."""
        positions = (self._slices.starts - self.offsets[:-1]).repeat(self._slices.lengths)
        positions += self.tokens
        self._slices.touch()
        row = np.empty((1, self._shape.num_rows), dtype=np.int64)
        row[0, : self.num_tokens] = self._slices.tokens.take(positions)
        row[0, self.num_tokens :] = Vocabulary.pad
        return row

    def shifted(self, row: IntArray, first: int) -> IntArray:
        """(1, R) -> (1, R): the token before each token, `first` before those that begin a sentence."""
        previous = np.empty_like(row)
        previous[0, 1:] = row[0, :-1]
        previous[0, self.offsets[:-1]] = first
        previous[0, self.num_tokens :] = Vocabulary.pad
        return previous

    def placed(self, row_bounds: IntArray, num_pieces: int, num_segments: int) -> PackedTokens:
        """Find each token's place for attention.

        Args:
            row_bounds: (A + 1,) the sentences of each attention row.
            num_pieces: Into how many segments the rows without a token are cut.
            num_segments: Q.
        """
        num_rows, num_tokens, lengths = self._shape.num_rows, self.num_tokens, self._slices.lengths
        columns = np.zeros(num_rows, dtype=np.int64)
        np.subtract(self.tokens, self.offsets[:-1].repeat(lengths), out=columns[:num_tokens])
        bounds = self.offsets[row_bounds]  # (A + 1,) the tokens of each attention row
        counts, row_length = bounds[1:] - bounds[:-1], self._shape.row_length
        firsts = np.arange(0, len(counts) * row_length, row_length)  # (A,) the places where rows begin
        places = np.empty(num_rows, dtype=np.int64)
        taken = places[:num_tokens]
        np.add(self.tokens, (firsts - bounds[:-1]).repeat(counts), out=taken)  # a row's tokens stand side by side
        free_row = (counts < row_length).argmax()
        places[num_tokens:] = firsts[free_row] + counts[free_row]
        rows = np.empty((len(counts), row_length), dtype=np.int64)
        rows.fill(num_rows - 1)
        rows.reshape(-1)[taken] = self.tokens
        sequences = np.empty(rows.shape, dtype=np.int32)
        sequences.fill(-1)
        sequences.reshape(-1)[taken] = np.arange(len(lengths), dtype=np.int32).repeat(lengths)
        return PackedTokens(
            bounds=torch.from_numpy(self._segments(num_pieces, num_segments)),
            columns=torch.from_numpy(columns),
            places=torch.from_numpy(places),
            rows=torch.from_numpy(rows),
            sequences=torch.from_numpy(sequences),
            num_columns=self._shape.num_columns,
        )

    def _segments(self, num_pieces: int, num_segments: int) -> np.ndarray:
        """(Q + 1,) int32: 0, the ends of the sentences, those of the pieces behind them, and the last again and again.

        The rows behind the last token are cut into pieces, so that none is longer than the longest sentence.
        """
        num_rows, num_bounds = self._shape.num_rows, len(self.offsets)
        bounds = np.full(num_segments + 1, num_rows, dtype=np.int32)
        bounds[:num_bounds] = self.offsets
        rest = num_rows - self.num_tokens
        pieces = [self.num_tokens + number * rest // num_pieces for number in range(1, num_pieces + 1)]
        bounds[num_bounds : num_bounds + num_pieces] = pieces
        return bounds
