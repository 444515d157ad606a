"""From token tables to batches: one gather of all the tokens of a batch, then one scatter into its rows.

Nothing here loops over examples. Legend: B rows, L width of the padded matrix, N tokens without padding.
"""

from __future__ import annotations

import numpy as np
import torch

from seqtrain.data.batch import Batch
from seqtrain.data.tokens import IntArray, row_positions
from seqtrain.data.vocabulary import Vocabulary


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


def pad(flat: IntArray, lengths: IntArray) -> tuple[IntArray, IntArray]:
    """Put flat tokens into the rows of a matrix, filled up on the right.

    Args:
        flat: (N,) the tokens of all rows.
        lengths: (B,) how many belong to each row.

    Returns:
        The matrix (B, L), L the greatest length, and the positions (N,) of the tokens in the flattened matrix.
    """
    width = int(lengths.max(initial=0))
    matrix = np.full((len(lengths), width), Vocabulary.pad, dtype=np.int64)
    positions = row_positions(np.arange(len(lengths), dtype=np.int64) * width, lengths)
    matrix.reshape(-1)[positions] = flat
    return matrix, positions


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
    ids: IntArray,
    target: tuple[IntArray, IntArray],
    *,
    first: IntArray | int = Vocabulary.eos,
    source: tuple[IntArray, IntArray] | None = None,
) -> Batch:
    """Pad flat tokens into a batch.

    Args:
        ids: (B,) the examples' numbers.
        target: Flat target tokens (N,) and their lengths (B,).
        first: What stands before each target: (B,), or one number for all.
        source: Flat source tokens and their lengths, if there are sources.
    """
    flat, lengths = target
    targets, positions = pad(flat, lengths)
    previous = np.full_like(targets, Vocabulary.pad)
    previous.reshape(-1)[positions] = shift(flat, lengths, first)
    return Batch(
        ids=torch.from_numpy(ids.astype(np.int64)),
        previous_tokens=torch.from_numpy(previous),
        targets=torch.from_numpy(targets),
        target_positions=torch.from_numpy(positions),
        num_tokens=len(positions),
        source_tokens=None if source is None else torch.from_numpy(pad(*source)[0]),
        source_lengths=None if source is None else torch.from_numpy(source[1]),
        num_source_tokens=0 if source is None else len(source[0]),
    )
