"""Random orders."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from seqtrain.data.random_streams import Purpose, random_stream, shuffled


def stream(number: int) -> np.random.Generator:
    return random_stream(Purpose.example_order, number)


def test_few_elements_are_shuffled_as_numpy_does() -> None:
    expected = np.arange(100)
    stream(1).shuffle(expected)
    assert shuffled(np.arange(100), stream(1)).tolist() == expected.tolist()


def test_many_elements_are_all_there_in_an_order_of_the_stream() -> None:
    elements = np.arange(600_000, dtype=np.uint32)
    orders = [shuffled(elements.copy(), stream(number)) for number in (1, 1, 2)]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    for order in orders:
        assert order.dtype == np.uint32
        assert np.array_equal(np.sort(order), elements)


@pytest.mark.parametrize("num_in_cache", [1, 2, 3])
def test_every_order_is_as_likely_as_any_other(num_in_cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pearson's statistic of 24 orders stays under the 99.99 % quantile of chi-squared with 23 degrees of freedom."""
    monkeypatch.setattr("seqtrain.data.random_streams._IN_CACHE", num_in_cache)
    random, expected = stream(1), 200
    counts = Counter(tuple(shuffled(np.arange(4), random).tolist()) for _ in range(24 * expected))
    assert sum((counts[order] - expected) ** 2 / expected for order in permutations(range(4))) < 57.1
