"""Lines whose words are cut one by one, and each word only once."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from seqtrain.data.chunk import Chunk, Numbers
from seqtrain.data.tokenizers.merging import Merges
from seqtrain.data.tokenizers.word_index import WordIndex
from seqtrain.data.tokens import IntArray, row_positions

_MAX_WORDS = 2**18


class WordTable:
    """What the words of earlier lines became, as arrays; a quarter of a million words are remembered."""

    def __init__(self, merges: Merges, joint: str) -> None:
        """Nothing is known yet.

        Args:
            merges: Cut words into pieces.
            joint: Behind each piece but a word's last.
        """
        self._merges = merges
        self._joint = joint
        self._symbols = Numbers()
        self._numbers = np.full(2 * (merges.num_symbols + sys.maxunicode + 1), -1, np.int32)  # by piece and is_last
        self._forget()

    def _forget(self) -> None:
        self._index = WordIndex()
        self._flat = np.empty(0, np.uint32)  # the symbols of all words
        self._starts = np.empty(0, np.int64)  # where those of each begin
        self._counts = np.empty(0, np.int64)  # how many belong to each

    def tokenize(self, lines: Sequence[str]) -> Chunk:
        """Cut lines at white space, and their words into symbols."""
        if len(self._index.words) > _MAX_WORDS:
            self._forget()
        words, num_words = self._index.split(lines)
        if new := self._index.words[len(self._counts) :]:
            self._learn(new)
        counts = self._counts[words]
        tokens = self._flat[row_positions(self._starts[words], counts)]
        ends, ends_of_lines = np.concatenate([[0], np.cumsum(counts)]), np.cumsum(num_words)
        return Chunk.of(self._symbols.symbols, tokens, ends[ends_of_lines] - ends[ends_of_lines - num_words])

    def _learn(self, words: Sequence[str]) -> None:
        pieces, counts = self._merges.cut(words)
        codes = 2 * pieces
        codes[np.cumsum(counts) - 1] += 1
        self._spell(np.unique(codes[self._numbers[codes] < 0]))
        self._starts = np.concatenate([self._starts, len(self._flat) + np.cumsum(counts) - counts])
        self._flat = np.concatenate([self._flat, self._numbers[codes].astype(np.uint32)])
        self._counts = np.concatenate([self._counts, counts])

    def _spell(self, codes: IntArray) -> None:
        """Number pieces that were not met before."""
        for code in codes.tolist():
            is_last = code % 2 == 1
            spelling = self._merges.spelling(code // 2, is_last=is_last)
            self._numbers[code] = self._symbols[spelling if is_last else spelling + self._joint]
