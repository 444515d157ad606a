"""What of a range of examples is kept, read in windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.lengths import KeptLengths, LengthTotals, Limits, filter_by_length

LENGTHS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), max_size=40)


def array(lengths: list[tuple[int, int]]) -> np.ndarray:
    return np.array(lengths, dtype=np.int64).reshape(-1, 2)


def test_what_is_too_long_is_counted_by_its_first_reason() -> None:
    lengths = array([(5, 5), (11, 5), (5, 11), (11, 11), (9, 2), (2, 9)])
    kept, filtered = filter_by_length(lengths, Limits(8, None, 1, 10, 10))
    assert kept.tolist() == [0]
    assert filtered == {
        "source longer than 10 tokens": 2,
        "target longer than 10 tokens": 1,
        "longer than max_tokens=8": 2,
    }


def test_nothing_is_filtered_without_a_reason() -> None:
    assert filter_by_length(array([(5, 5)]), Limits(None, 1, 1, 5, 5))[1] == {}


@settings(max_examples=100, deadline=None)
@given(lengths=LENGTHS, longest=st.integers(3, 12), start=st.integers(0, 10))
def test_windows_keep_what_is_kept_of_the_whole(lengths: list[tuple[int, int]], longest: int, start: int) -> None:
    limits, table = Limits(30, None, 1, longest, 10), array(lengths)
    examples = range(min(start, len(table)), len(table))
    numbers, filtered = filter_by_length(table[examples.start :], limits)
    rows = table[examples.start :][numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqtrain.data.lengths.WINDOW", 7)
        kept = KeptLengths(table, limits, examples)
        assert kept.numbers().tolist() == numbers.tolist()
        assert [row.tolist() for window in kept for row in window] == rows.tolist()
    assert kept.filtered == filtered
    assert kept.totals == LengthTotals().with_lengths(rows)


def test_totals_add_up() -> None:
    first, second = array([(10, 5), (50, 25)]), array([(140, 70)])
    both = LengthTotals(num_examples=3, totals=(200, 100), longest=(140, 70))
    assert LengthTotals().with_lengths(first) + LengthTotals().with_lengths(second) == both
    assert LengthTotals().with_lengths(np.concatenate([first, second])) == both
