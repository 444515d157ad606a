"""A hash table of arrays: many keys are looked up at once, and the processor waits for many places at the same time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seqtrain.data.tokens import IntArray

_FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))  # odd, with their bits well mixed
_SLOT_BITS = 12  # at first
_SLOTS_PER_KEY = 4  # at least, so that few keys want a slot that another one has

Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int32]


class KeyIndex:
    """Numbers by keys, each of which is one or two 64-bit integers."""

    def __init__(self, width: int) -> None:
        """Nothing is known yet.

        Args:
            width: The integers that make a key, K.
        """
        self._size = 0
        self._places = np.full(2**_SLOT_BITS, -1, np.int32)  # by slot
        # by place, and not by slot: keys that are frequent are met early, and so lie together
        self._keys = np.zeros((2**_SLOT_BITS // _SLOTS_PER_KEY, width), np.uint64)
        self._numbers = np.full(len(self._keys) + 1, -1, np.int64)  # the last is found at place -1

    def look_up(self, keys: Keys) -> IntArray:
        """(N,) the numbers of keys (N, K); -1 for those that are not known."""
        slots = self._slots(keys)
        places = self._places.take(slots)
        waiting = np.flatnonzero(self._is_other(places, keys))
        slots = slots[waiting]
        while len(waiting):  # another key has the slot: look into the next
            slots = self._next(slots)
            places[waiting] = self._places[slots]
            is_other = self._is_other(places[waiting], keys[waiting])
            waiting, slots = waiting[is_other], slots[is_other]
        return self._numbers[places]

    def add(self, keys: Keys, numbers: IntArray) -> None:
        """Remember keys (N, K) that are not known yet, each once, and their numbers (N,)."""
        first, self._size = self._size, self._size + len(keys)
        if self._size > len(self._keys):
            self._grow(first)
        self._keys[first : self._size] = keys
        self._numbers[first : self._size] = numbers
        self._place(first, self._size)

    def _grow(self, num_known: int) -> None:
        """Make room for keys to come, of which there are `_size` with those that are known."""
        num_slots = 2 ** (_SLOTS_PER_KEY * self._size - 1).bit_length()
        keys, numbers = self._keys[:num_known], self._numbers[:num_known]
        self._places = np.full(num_slots, -1, np.int32)
        self._keys = np.zeros((num_slots // _SLOTS_PER_KEY, keys.shape[1]), np.uint64)
        self._numbers = np.full(len(self._keys) + 1, -1, np.int64)
        self._keys[:num_known], self._numbers[:num_known] = keys, numbers
        self._place(0, num_known)

    def _place(self, start: int, stop: int) -> None:
        """Give slots to the keys at the places start ... stop - 1."""
        places = np.arange(start, stop, dtype=np.int32)
        slots = self._slots(self._keys[start:stop])
        while len(places):
            is_free = self._places[slots] < 0
            self._places[slots[is_free]] = places[is_free]  # of several that want a slot, the last gets it
            is_left = self._places[slots] != places
            places, slots = places[is_left], self._next(slots[is_left])

    def _is_other(self, places: Places, keys: Keys) -> npt.NDArray[np.bool_]:
        """(N,) whether there is a key at places (N,), and another than those (N, K)."""
        known = self._keys.take(places, axis=0, mode="clip")
        is_other: npt.NDArray[np.bool_] = known[:, 0] != keys[:, 0]
        for column in range(1, keys.shape[1]):
            is_other |= known[:, column] != keys[:, column]
        is_other &= places >= 0
        return is_other

    def _slots(self, keys: Keys) -> IntArray:
        """(N,) where to begin to look for keys (N, K)."""
        mixed = keys[:, 0] * _FACTORS[0]
        for column in range(1, keys.shape[1]):
            mixed ^= keys[:, column] * _FACTORS[column]
        mixed ^= mixed >> np.uint64(32)
        mixed *= _FACTORS[0]
        mixed >>= np.uint64(64 - (len(self._places) - 1).bit_length())
        return mixed.view(np.int64)

    def _next(self, slots: IntArray) -> IntArray:
        """The slots behind some slots; the first is behind the last."""
        return slots + 1 & len(self._places) - 1
