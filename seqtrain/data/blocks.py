"""Blocks of a corpus: the dataset of language modelling.

A block is a range of the corpus's tokens in a row; its tokens are the targets, and the input at each position is the
token before, also across the beginning of the block. Blocks are slices: nothing is copied.
"""

from __future__ import annotations

import numpy as np

from seqtrain.data.batch import Batch
from seqtrain.data.break_mode import BreakMode
from seqtrain.data.collate import Slices, make_batch
from seqtrain.data.files import digest
from seqtrain.data.tokens import IntArray, TokenTable
from seqtrain.data.vocabulary import Vocabulary

_SEPARATOR_LENGTH = 1
"""Tokens of an empty line: the end symbol alone."""


def cut_blocks(offsets: IntArray, mode: BreakMode, block_size: int) -> tuple[IntArray, IntArray]:
    """Cut a corpus into blocks.

    Args:
        offsets: (num_sentences + 1,) where each sentence begins, and the end of the last.
        mode: Where a block may end.
        block_size: Tokens of a block, at most.

    Returns:
        Where each block begins, and how many tokens it has; blocks without tokens are left out.
    """
    match mode:
        case BreakMode.none:
            starts = np.arange(offsets[0], offsets[-1], block_size, dtype=np.int64)
            ends = np.minimum(starts + block_size, offsets[-1])
        case BreakMode.eos:
            starts, ends = offsets[:-1], offsets[1:]
        case BreakMode.complete:
            bounds = offsets[_hops(_last_that_fits(offsets, block_size))]
            starts, ends = bounds[:-1], bounds[1:]
        case BreakMode.complete_doc:
            starts, ends = _cut_documents(offsets, block_size)
    kept = ends > starts
    return starts[kept], (ends - starts)[kept]


def _last_that_fits(offsets: IntArray, block_size: int) -> IntArray:
    """For a block that begins with sentence i, the sentence behind its last: (num_sentences,); at least i + 1."""
    numbers = np.arange(1, len(offsets), dtype=np.int64)
    return np.maximum(np.searchsorted(offsets, offsets[:-1] + block_size, side="right") - 1, numbers)


def _hops(following: IntArray) -> IntArray:
    """The numbers 0, following[0], following[following[0]] ... up to len(following)."""
    hops, position = [0], 0
    while position < len(following):
        position = int(following[position])
        hops.append(position)
    return np.array(hops, dtype=np.int64)


def _cut_documents(offsets: IntArray, block_size: int) -> tuple[IntArray, IntArray]:
    """Blocks of whole sentences of one document; separators, and blocks of a single token, are left out."""
    is_separator = np.diff(offsets) == _SEPARATOR_LENGTH
    separators = np.append(np.flatnonzero(is_separator), len(offsets) - 1)
    next_separator = separators[np.searchsorted(separators, np.arange(len(offsets) - 1))]
    following = np.minimum(_last_that_fits(offsets, block_size), next_separator)
    following[is_separator] = np.flatnonzero(is_separator) + 1
    bounds = offsets[_hops(following)]
    starts, ends = bounds[:-1], bounds[1:]
    kept = ends - starts > 1
    return starts[kept], ends[kept]


class BlockDataset:
    """The blocks of a corpus.

    Attributes:
        lengths: (num_blocks, 2) int64: 0 and the tokens of each block.
    """

    def __init__(
        self, corpus: TokenTable, mode: BreakMode, block_size: int, *, first_token: int = Vocabulary.eos
    ) -> None:
        """Cut the corpus.

        Args:
            corpus: A sequence for each sentence, its end symbol included.
            mode: Where a block may end.
            block_size: Tokens of a block, at most.
            first_token: What stands before the corpus.
        """
        self._corpus = corpus
        self._first_token = first_token
        self._starts, lengths = cut_blocks(corpus.offsets, mode, block_size)
        self.lengths: IntArray = np.stack([np.zeros_like(lengths), lengths], axis=1)
        self._settings = (mode.name, block_size, first_token)

    @property
    def length_table(self) -> IntArray:
        """See `Dataset`."""
        return self.lengths

    @property
    def fingerprint(self) -> str:
        """A digest of the content."""
        return digest(self._corpus.fingerprint, *self._settings)

    def __len__(self) -> int:
        """The number of blocks."""
        return len(self._starts)

    def collate(self, indices: np.ndarray) -> Batch:
        """Gather blocks into one batch, in the order of the indices (B,)."""
        starts, lengths = self._starts[indices], self.lengths[indices, 1]
        # position -1 of the first block wraps around to the last token, which is then replaced
        before = self._corpus.tokens[starts - 1].astype(np.int64)
        before[starts == self._corpus.offsets[0]] = self._first_token
        return make_batch(indices, Slices(self._corpus.tokens, starts, lengths), first=before)
