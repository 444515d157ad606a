"""The words of many lines, numbered without making a string of each.

A word of at most 15 bytes is two 64-bit integers, its bytes and its length, and all words of a block are looked up at
once. Only words that are met for the first time, and longer ones, become strings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqtrain.data.text import JoinedLines
from seqtrain.data.tokenizers.key_index import KeyIndex, Keys
from seqtrain.data.tokens import IntArray

_MAX_BYTES = 15
_KEPT = np.array([(256 ** min(size, 8) - 1, 256 ** min(max(size - 8, 0), 7) - 1) for size in range(17)], np.uint64)
"""Masks for the first 16 bytes of a word, as two little-endian integers, by its length: what is behind it goes."""
_LENGTHS = np.array([(0, size << 56) for size in range(17)], np.uint64)
"""What is put into the byte that is left, by a word's length."""

_OTHER_SPACES = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
"""What `str.split` splits at besides."""


class WordIndex:
    """Numbers words.

    Attributes:
        words: By number.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self._others: dict[bytes, int] = {}
        self._index = KeyIndex(2)

    def split(self, lines: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Cut lines at white space, as `str.split` does.

        Returns:
            The numbers of the words of all lines in a row, and how many belong to each line.
        """
        text, line_ends = _joined(lines)
        bounds = np.flatnonzero(np.diff(_is_space(np.frombuffer(text, np.uint8)[: -_MAX_BYTES - 1]))) + 1
        starts, ends = bounds[::2], bounds[1::2]
        counts = np.diff(np.searchsorted(starts, line_ends, side="right"), prepend=0)
        keys = _keys(text, starts, ends - starts)
        numbers = self._index.look_up(keys)
        missing = np.flatnonzero(numbers < 0)
        if len(missing):
            self._learn(text, starts[missing], ends[missing])
            numbers[missing] = self._index.look_up(keys[missing])
        others = np.flatnonzero(numbers < 0)
        numbers[others] = [self._number_other(text[start:end]) for start, end in _pairs(starts[others], ends[others])]
        return numbers, counts

    def _learn(self, text: bytes, starts: IntArray, ends: IntArray) -> None:
        """Number the words that are not too long for a key, each once."""
        is_short = ends - starts <= _MAX_BYTES
        new = list(dict.fromkeys(text[start:end] for start, end in _pairs(starts[is_short], ends[is_short])))
        joined = b"".join([*new, bytes(_MAX_BYTES + 1)])
        lengths = np.fromiter(map(len, new), np.int64, len(new))
        keys = _keys(joined, np.cumsum(lengths) - lengths, lengths)
        self._index.add(keys, np.arange(len(self.words), len(self.words) + len(new)))
        self.words += [word.decode("utf-8", "surrogatepass") for word in new]

    def _number_other(self, word: bytes) -> int:
        number = self._others.get(word)
        if number is None:
            number = self._others[word] = len(self.words)
            self.words.append(word.decode("utf-8", "surrogatepass"))
        return number


def _joined(lines: Sequence[str]) -> tuple[bytes, IntArray]:
    """The bytes of lines, a space before, between and behind them, then some more; and the space behind each."""
    if isinstance(lines, JoinedLines):
        joined = lines.text
    else:
        joined = "\n".join(lines)  # one string is encoded faster than many
        if joined.count("\n") >= max(1, len(lines)):  # a line with a break of its own
            return _joined([line.replace("\n", " ") for line in lines])
    if not joined.isascii():
        joined = _OTHER_SPACES.sub(" ", joined)
    text = b"".join([b"\n", joined.encode("utf-8", "surrogatepass"), b"\n", bytes(_MAX_BYTES + 1)])
    return text, np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))[1 : len(lines) + 1]


def _is_space(text: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """(N,) whether bytes (N,) are white space: 9 ... 13 or 28 ... 32. A smaller one minus 9 or 28 is a large one."""
    return (text - np.uint8(9) <= 4) | (text - np.uint8(28) <= 4)


def _keys(text: bytes, starts: IntArray, lengths: IntArray) -> Keys:
    """(N, 2) the first 15 bytes of words, and how long they are; `text` goes on for 16 bytes behind the last."""
    at_every_byte = np.ndarray((len(text) - 15,), "V16", text, strides=(1,))
    keys = at_every_byte[starts].view("<u8").reshape(-1, 2)
    keys &= _KEPT.take(lengths, axis=0, mode="clip")
    keys |= _LENGTHS.take(lengths, axis=0, mode="clip")
    return keys


def _pairs(starts: IntArray, ends: IntArray) -> zip[tuple[int, int]]:
    return zip(starts.tolist(), ends.tolist(), strict=True)
