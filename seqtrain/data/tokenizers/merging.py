"""Byte-pair merges of many words at once (Sennrich et al., 2016).

The symbols of all words lie in one row. A step joins, in every word that has any, the pairs that were learned first, so
there are as many steps as the longest word needs, whatever the number of words.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqtrain.data.tokenizers.key_index import KeyIndex
from seqtrain.data.tokens import IntArray

_END_OF_WORD = "</w>"
_NO_SYMBOL = -1
_NOTHING = -2
_NO_RANK = 2**31 - 1


@dataclass
class _Row:
    """The symbols of some words, one word after the other.

    Attributes:
        symbols: (M,) their numbers.
        words: (M,) the word of each, ascending.
        starts: (M,) the character at which each begins.
        ranks: (M,) the rank of each symbol's pair with the next; `_NO_RANK` where that is no merge, or another word's.
    """

    symbols: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]
    starts: IntArray
    ranks: npt.NDArray[np.int32]

    def select(self, kept: npt.NDArray[np.bool_]) -> _Row:
        """Some of the symbols."""
        return _Row(self.symbols[kept], self.words[kept], self.starts[kept], self.ranks[kept])

    def best_ranks(self) -> npt.NDArray[np.int32]:
        """(M,) the lowest rank in the word of each symbol."""
        firsts = np.flatnonzero(np.diff(self.words, prepend=-1))
        return np.repeat(np.minimum.reduceat(self.ranks, firsts), np.diff(firsts, append=len(self.words)))


class Merges:
    """The merges of a file of codes, as arrays.

    Attributes:
        num_symbols: The symbols in the merges. Piece p is symbol p, or else the character p - num_symbols.
    """

    def __init__(self, ranks: Mapping[tuple[str, str], int], *, separate_end: bool) -> None:
        """Number the symbols.

        Args:
            ranks: The pairs that are joined, and which comes first.
            separate_end: Whether the end of a word is a symbol of its own, instead of a part of its last character.
        """
        numbers: dict[str, int] = {}
        for left, right in ranks:
            for symbol in (left, right, left + right):
                numbers.setdefault(symbol, len(numbers))
        self._separate_end = separate_end
        self._end = numbers.get(_END_OF_WORD, _NO_SYMBOL)
        self._characters = _table_of_characters(numbers)
        self._last_characters = _table_of_characters(
            {symbol.removesuffix(_END_OF_WORD): number for symbol, number in numbers.items() if _END_OF_WORD in symbol}
        )
        self.num_symbols = len(numbers)
        self._spellings = list(numbers)
        pairs = np.array([numbers[left] * len(numbers) + numbers[right] for left, right in ranks], np.uint64)
        self._ranks = KeyIndex(1)
        self._ranks.add(pairs[:, None], np.fromiter(ranks.values(), np.int64, len(ranks)))
        self._joined = np.zeros(max(ranks.values(), default=0) + 1, np.int32)
        for (left, right), rank in ranks.items():
            self._joined[rank] = numbers[left + right]

    def cut(self, words: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Cut words; in each, the merge that was learned first is done first, wherever it applies.

        Args:
            words: Each of one character at least.

        Returns:
            The numbers of all pieces in a row, for `spelling`, and how many belong to each word.
        """
        text = "".join(words)
        ends = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)))
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        pieces = np.full(len(text), _NOTHING, np.int64)  # by the character at which each begins
        row = self._spell(points, ends)
        while len(row.symbols):
            best_ranks = row.best_ranks()
            is_finished = best_ranks == _NO_RANK
            done = row.select(is_finished & (row.starts < ends[row.words]))
            pieces[done.starts] = np.where(done.symbols >= 0, done.symbols, self.num_symbols + points[done.starts])
            row = self._join(row, best_ranks, is_finished)
        bounds = np.flatnonzero(pieces != _NOTHING)
        return pieces[bounds], np.diff(np.searchsorted(bounds, ends), prepend=0)

    def spelling(self, piece: int, *, is_last: bool) -> str:
        """The characters of a piece.

        Args:
            piece: Its number.
            is_last: Whether it is the last of its word.
        """
        if piece >= self.num_symbols:
            return chr(piece - self.num_symbols)
        return self._spellings[piece].removesuffix(_END_OF_WORD) if is_last else self._spellings[piece]

    def _join(self, row: _Row, best_ranks: npt.NDArray[np.int32], is_finished: npt.NDArray[np.bool_]) -> _Row:
        """The words that are not finished, with their best pairs joined."""
        pairs = _without_overlaps(np.flatnonzero((row.ranks == best_ranks) & ~is_finished))
        row.symbols[pairs] = self._joined[row.ranks[pairs]]
        is_left = ~is_finished
        is_left[pairs + 1] = False
        row = row.select(is_left)
        joined = np.cumsum(is_left)[pairs] - 1
        self._rank(row, np.concatenate([joined, joined[joined > 0] - 1]))
        return row

    def _spell(self, points: np.ndarray, ends: IntArray) -> _Row:
        """The words as characters, and the end of each as a symbol where it is one."""
        symbols = self._characters[points]
        words = np.repeat(np.arange(len(ends), dtype=np.int32), np.diff(ends, prepend=0))
        starts = np.arange(len(points), dtype=np.int64)
        if self._separate_end:
            symbols = np.insert(symbols, ends, self._end)
            words = np.insert(words, ends, np.arange(len(ends), dtype=np.int32))
            starts = np.insert(starts, ends, ends)
        else:
            symbols[ends - 1] = self._last_characters[points[ends - 1]]
        row = _Row(symbols, words, starts, np.full(len(symbols), _NO_RANK, np.int32))
        self._rank(row, np.arange(len(symbols)))
        return row

    def _rank(self, row: _Row, positions: IntArray) -> None:
        """Look up the pairs of some symbols with the next."""
        following = np.minimum(positions + 1, len(row.symbols) - 1)
        left, right = row.symbols[positions], row.symbols[following]
        is_pair = (left >= 0) & (right >= 0) & (row.words[positions] == row.words[following]) & (following > positions)
        pairs = left.astype(np.uint64) * np.uint64(self.num_symbols) + right.astype(np.uint64)
        ranks = self._ranks.look_up(pairs[:, None])
        row.ranks[positions] = np.where(is_pair & (ranks >= 0), ranks, _NO_RANK)


def _table_of_characters(numbers: Mapping[str, int]) -> npt.NDArray[np.int32]:
    """The number of each character that is a symbol, by code point."""
    table = np.full(sys.maxunicode + 1, _NO_SYMBOL, np.int32)
    for symbol, number in numbers.items():
        if len(symbol) == 1:
            table[ord(symbol)] = number
    return table


def _without_overlaps(pairs: IntArray) -> IntArray:
    """Of pairs that overlap, as in "a a a", every other one, from the left; the positions of their left halves."""
    is_first = np.diff(pairs, prepend=-2) != 1
    firsts = np.flatnonzero(is_first)
    places = np.arange(len(pairs)) - np.repeat(firsts, np.diff(firsts, append=len(pairs)))
    left: IntArray = pairs[places % 2 == 0]
    return left
