"""Exact match."""

from __future__ import annotations

import pytest

from seqtrain.errors import DataError
from seqtrain.evaluation import exact_match


def test_the_score_is_the_percentage_of_equal_strings() -> None:
    assert exact_match(["a", "b", "c", "d"], ["a", "b", "c", "x"]) == 75


def test_white_space_at_the_ends_does_not_count() -> None:
    assert exact_match([" a b\n"], ["a b"]) == 100


def test_white_space_within_counts() -> None:
    assert exact_match(["a  b"], ["a b"]) == 0


def test_different_numbers_of_strings_are_an_error() -> None:
    with pytest.raises(DataError, match="1 hypotheses cannot be compared with 2 references"):
        exact_match(["a"], ["a", "b"])
