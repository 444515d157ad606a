"""From token tables to batches: all the tokens of one side of a batch are read in one gather.

Nothing here loops over examples. Legend: B rows, L width of the padded matrix, N tokens without padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from seqtrain.data.batch import Batch
from seqtrain.data.tokens import IntArray, row_positions
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


def gather(tokens: np.ndarray, starts: IntArray, lengths: IntArray) -> IntArray:
    """Read slices of a flat array, one after the other.

    Args:
        tokens: (num_tokens,) of any integer type.
        starts: (B,) where each slice begins.
        lengths: (B,) tokens of each slice.

    Returns:
        (N,) int64.
    """
    return tokens[row_positions(starts, lengths)].astype(np.int64)


def gather_padded(rows: Slices) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Read slices of a flat array into the rows of a matrix, filled up on the right.

    The matrix is gathered as a whole, with what happens to lie behind each slice, which is then overwritten: rows of a
    batch are about equally long, and a scatter would cost more.

    Returns:
        The matrix (B, L), L the greatest length, and whether each of its elements is padding.
    """
    columns = np.arange(int(rows.lengths.max(initial=0)), dtype=np.int64)
    positions = rows.starts[:, None] + columns
    # the padding of the last slice may lie behind the end of the tokens
    matrix: IntArray = rows.tokens.take(positions, mode="clip").astype(np.int64, copy=False)
    is_padding = columns >= rows.lengths[:, None]
    np.copyto(matrix, Vocabulary.pad, where=is_padding)
    return matrix, is_padding


def shift(flat: IntArray, lengths: IntArray, first: IntArray | int) -> IntArray:
    """The token before each token, within its row.

    Args:
        flat: (N,) the tokens of all rows.
        lengths: (B,) how many belong to each row.
        first: (B,) or one number for all: what stands before each row.

    Returns:
        (N,) int64.
    """
    previous = np.empty_like(flat)
    previous[1:] = flat[:-1]
    begins = (np.cumsum(lengths) - lengths)[lengths > 0]
    previous[begins] = first if isinstance(first, int) else first[lengths > 0]
    return previous


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
