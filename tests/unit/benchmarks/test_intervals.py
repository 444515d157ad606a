"""The bootstrap interval of a median."""

from __future__ import annotations

import pytest

from benchmarks.harness.intervals import Interval, bootstrap_median


def test_of_equal_values_nothing_is_uncertain() -> None:
    assert bootstrap_median([2.0] * 5) == Interval(2.0, 2.0, 2.0)


def test_of_three_values_the_bounds_are_the_smallest_and_the_largest() -> None:
    # A resample has the smallest as its median with probability 7/27, far more than 2.5 %; likewise the largest.
    assert bootstrap_median([3.0, 1.0, 2.0]) == Interval(2.0, 1.0, 3.0)


def test_one_outlier_among_many_values_moves_no_bound() -> None:
    assert bootstrap_median([1.0] * 20 + [100.0]) == Interval(1.0, 1.0, 1.0)


def test_bounds_of_many_values_are_those_of_the_binomial_distribution() -> None:
    # The median of 99 values is below the 40th of them with probability 2.2 %, below the 41st with 3.5 % (n=99, p=1/2).
    interval = bootstrap_median([float(value) for value in range(1, 100)])
    assert interval.low == pytest.approx(40, abs=1)
    assert interval.high == pytest.approx(60, abs=1)


def test_an_interval_is_written_with_its_bounds() -> None:
    assert str(Interval(2.104, 2.05, 2.156)) == "2.10 [2.05, 2.16]"


def test_the_width_is_a_share_of_the_median() -> None:
    assert Interval(2.0, 1.9, 2.1).width == pytest.approx(0.1)


def test_the_bounds_belong_to_an_interval() -> None:
    interval = Interval(2.0, 1.5, 2.5)
    assert [interval.contains(value) for value in (1.4, 1.5, 2.5, 2.6)] == [False, True, True, False]
