"""From token tables to batches: all the tokens of one side of a batch are read in one gather.

Nothing here loops over examples. Legend: B rows, L width of the padded matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from seqtrain.data.batch import Batch
from seqtrain.data.tokens import IntArray
from seqtrain.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Slices:
    """Slices of a flat array: the rows of a batch.

    Attributes:
        tokens: (num_tokens,) of any integer type.
        starts: (B,) where each slice begins.
        lengths: (B,) tokens of each slice.
    """

    tokens: np.ndarray
    starts: IntArray
    lengths: IntArray

    def touch(self) -> None:
        """Read the first and the last token of each slice, before all tokens are read in a row.

        The slices are scattered over main memory. These reads do not wait for each other, those of a row do: the
        processor sees only one or two slices ahead. Both together take a third less time than the row alone.
        """
        if len(self.tokens):
            self.tokens.take(self.starts, mode="clip")  # an empty slice may begin behind the end
            self.tokens.take(self.starts + self.lengths - 1, mode="clip")


def gather_padded(rows: Slices) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Read slices of a flat array into the rows of a matrix, filled up on the right.

    The matrix is gathered as a whole, with what happens to lie behind each slice, which is then overwritten: rows of a
    batch are about equally long, and a scatter would cost more.

    Returns:
        The matrix (B, L), L the greatest length, and whether each of its elements is padding.
    """
    columns = np.arange(int(rows.lengths.max(initial=0)), dtype=np.int64)
    positions = rows.starts[:, None] + columns
    rows.touch()
    # the padding of the last slice may lie behind the end of the tokens
    matrix: IntArray = rows.tokens.take(positions, mode="clip").astype(np.int64, copy=False)
    is_padding = columns >= rows.lengths[:, None]
    np.copyto(matrix, Vocabulary.pad, where=is_padding)
    return matrix, is_padding


def make_batch(
    ids: IntArray, target: Slices, *, first: IntArray | int = Vocabulary.eos, source: Slices | None = None
) -> Batch:
    """Pad slices into a batch.

    Args:
        ids: (B,) the examples' numbers.
        target: The target tokens.
        first: What stands before each target: (B,), or one number for all.
        source: The source tokens, if there are sources.
    """
    targets, is_padding = gather_padded(target)
    previous = np.empty_like(targets)
    previous[:, 1:] = targets[:, :-1]
    previous[:, :1] = first if isinstance(first, int) else first[:, None]
    np.copyto(previous, Vocabulary.pad, where=is_padding)
    positions = np.flatnonzero(~is_padding)
    return Batch(
        ids=torch.from_numpy(ids.astype(np.int64)),
        previous_tokens=torch.from_numpy(previous),
        targets=torch.from_numpy(targets),
        target_positions=torch.from_numpy(positions),
        num_tokens=len(positions),
        source_tokens=None if source is None else torch.from_numpy(gather_padded(source)[0]),
        source_lengths=None if source is None else torch.from_numpy(source.lengths),
        num_source_tokens=0 if source is None else int(source.lengths.sum()),
    )
