"""Numbers by keys of 64-bit integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtrain.data.tokenizers import key_index
from seqtrain.data.tokenizers.key_index import KeyIndex

KEYS = st.tuples(st.integers(0, 3) | st.integers(0, 2**64 - 1), st.integers(0, 2) | st.just(2**63))


def array_of(keys: list[tuple[int, ...]], width: int) -> np.ndarray:
    return np.array(keys, np.uint64).reshape(-1, width)


@pytest.fixture(params=[False, True], ids=["mixed", "all in one slot"], autouse=True)
def factors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(key_index, "_FACTORS", (np.uint64(0), np.uint64(0)))


@pytest.mark.parametrize("width", [1, 2])
@given(batches=st.lists(st.lists(KEYS, max_size=8), max_size=4), asked=st.lists(KEYS, max_size=8))
def test_it_is_a_dictionary(width: int, batches: list[list[tuple[int, int]]], asked: list[tuple[int, int]]) -> None:
    index, known = KeyIndex(width), dict[tuple[int, ...], int]()
    for batch in batches:
        new = [key for key in dict.fromkeys(key[:width] for key in batch) if key not in known]
        numbers = np.arange(len(new)) + 10 * len(known) + 5
        index.add(array_of(new, width), numbers)
        known.update(zip(new, numbers.tolist(), strict=True))
        for keys in (list(known), [key[:width] for key in asked]):
            assert index.look_up(array_of(keys, width)).tolist() == [known.get(key, -1) for key in keys]


def test_the_key_of_zeros_is_like_any_other() -> None:
    index = KeyIndex(2)
    assert index.look_up(array_of([(0, 0)], 2)).tolist() == [-1]
    index.add(array_of([(0, 1)], 2), np.array([7]))
    assert index.look_up(array_of([(0, 0), (0, 1)], 2)).tolist() == [-1, 7]


def test_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "_SLOT_BITS", 3)
    index = KeyIndex(1)
    sizes = (1, 1, 1, 30, 200)
    for number, size in enumerate(sizes):
        first = sum(sizes[:number])
        index.add(np.arange(first, first + size, dtype=np.uint64)[:, None], 2 * np.arange(first, first + size))
    expected = [2 * key if key < sum(sizes) else -1 for key in range(300)]
    assert index.look_up(np.arange(300, dtype=np.uint64)[:, None]).tolist() == expected
