"""The words of many lines, numbered without making a string of each.

A word of at most 15 bytes is two 64-bit numbers, its bytes and its length, which are looked up in a hash table of
arrays, all words of a block at once: the processor then waits for many places of the table together, instead of for one
after the other. Only words that are met for the first time, and longer ones, become strings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqtrain.data.tokens import IntArray

_MAX_BYTES = 15
_SLOT_BITS = 20
_NUM_SLOTS = 2**_SLOT_BITS
_MAX_KNOWN = 3 * 2**18  # words in the table; others are looked up one by one
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # odd, with their bits well mixed
_KEPT = np.array([2 ** (8 * count) - 1 for count in range(9)], np.uint64)
"""Masks of the first 0 ... 8 bytes of a little-endian number."""

_IS_SPACE = np.isin(np.arange(256), [*b"\t\n\v\f\r\x1c\x1d\x1e\x1f "])
_OTHER_SPACES = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
"""What `str.split` splits at besides."""

Keys = npt.NDArray[np.uint64]


class WordIndex:
    """Numbers words.

    Attributes:
        words: By number.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self._others: dict[bytes, int] = {}
        self._numbers = np.full(_NUM_SLOTS, -1, np.int32)
        self._keys = np.zeros((2, _NUM_SLOTS), np.uint64)

    def split(self, lines: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Cut lines at white space, as `str.split` does.

        Returns:
            The numbers of the words of all lines in a row, and how many belong to each line.
        """
        text, line_ends = _joined(lines)
        is_space = _IS_SPACE[np.frombuffer(text, np.uint8)[: -_MAX_BYTES - 1]]
        bounds = np.flatnonzero(is_space[1:] != is_space[:-1]) + 1
        starts, ends = bounds[::2], bounds[1::2]
        counts = np.diff(np.searchsorted(starts, line_ends, side="right"), prepend=0)
        keys = _keys(text, starts, ends - starts)
        numbers = self._look_up(keys)
        missing = np.flatnonzero(numbers < 0)
        if len(missing):
            self._learn(text, starts[missing], ends[missing])
            numbers[missing] = self._look_up(keys[:, missing])
        others = np.flatnonzero(numbers < 0)
        numbers[others] = [self._number_other(text[start:end]) for start, end in _pairs(starts[others], ends[others])]
        return numbers, counts

    def _look_up(self, keys: Keys) -> IntArray:
        """(N,) the numbers of words by their keys (2, N); -1 for those that are not known."""
        slots = _slots(keys)
        found = self._numbers[slots].astype(np.int64)
        waiting = np.flatnonzero((found >= 0) & (self._keys[:, slots] != keys).any(axis=0))
        while len(waiting):  # another word has the slot: look into the next
            slots = (slots if len(slots) == len(waiting) else slots[waiting]) + 1 & _NUM_SLOTS - 1
            found[waiting] = self._numbers[slots]
            is_other = (found[waiting] >= 0) & (self._keys[:, slots] != keys[:, waiting]).any(axis=0)
            waiting, slots = waiting[is_other], slots[is_other]
        return found

    def _learn(self, text: bytes, starts: IntArray, ends: IntArray) -> None:
        """Number the words that are not too long for a key, each once, as long as there is room."""
        is_short = ends - starts <= _MAX_BYTES
        found = dict.fromkeys(text[start:end] for start, end in _pairs(starts[is_short], ends[is_short]))
        new = list(found)[: max(0, _MAX_KNOWN - len(self.words))]
        joined = b"".join([*new, bytes(_MAX_BYTES + 1)])
        lengths = np.fromiter(map(len, new), np.int64, len(new))
        keys = _keys(joined, np.cumsum(lengths) - lengths, lengths)
        numbers = np.arange(len(self.words), len(self.words) + len(new))
        self.words += [word.decode("utf-8", "surrogatepass") for word in new]
        slots = _slots(keys)
        while len(numbers):
            is_free = self._numbers[slots] < 0
            self._numbers[slots[is_free]] = numbers[is_free]  # of several that want a slot, the last gets it
            is_placed = self._numbers[slots] == numbers
            self._keys[:, slots[is_placed]] = keys[:, is_placed]
            numbers, keys = numbers[~is_placed], keys[:, ~is_placed]
            slots = slots[~is_placed] + 1 & _NUM_SLOTS - 1

    def _number_other(self, word: bytes) -> int:
        number = self._others.get(word)
        if number is None:
            number = self._others[word] = len(self.words)
            self.words.append(word.decode("utf-8", "surrogatepass"))
        return number


def _joined(lines: Sequence[str]) -> tuple[bytes, IntArray]:
    """The bytes of lines, a space before, between and behind them, then some more; and the space behind each."""
    joined = "\n".join(lines)  # one string is encoded faster than many
    if joined.count("\n") >= max(1, len(lines)):  # a line with a break of its own
        return _joined([line.replace("\n", " ") for line in lines])
    if not joined.isascii():
        joined = _OTHER_SPACES.sub(" ", joined)
    text = b"".join([b"\n", joined.encode("utf-8", "surrogatepass"), b"\n", bytes(_MAX_BYTES + 1)])
    return text, np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))[1 : len(lines) + 1]


def _keys(text: bytes, starts: IntArray, lengths: IntArray) -> Keys:
    """(2, N) the first 15 bytes of words, and how long they are; `text` goes on for 16 bytes behind the last."""
    at_every_byte = np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))
    keys = np.empty((2, len(starts)), np.uint64)
    keys[0] = at_every_byte[starts] & _KEPT[np.minimum(lengths, 8)]
    keys[1] = at_every_byte[starts + 8] & _KEPT[np.clip(lengths - 8, 0, 7)]
    keys[1] |= np.minimum(lengths, _MAX_BYTES + 1).astype(np.uint64) << np.uint64(56)
    return keys


def _slots(keys: Keys) -> IntArray:
    mixed = (keys[0] * _FACTORS[0]) ^ (keys[1] * _FACTORS[1])
    mixed ^= mixed >> np.uint64(32)
    mixed *= _FACTORS[0]
    slots: IntArray = (mixed >> np.uint64(64 - _SLOT_BITS)).astype(np.int64)
    return slots


def _pairs(starts: IntArray, ends: IntArray) -> zip[tuple[int, int]]:
    return zip(starts.tolist(), ends.tolist(), strict=True)
