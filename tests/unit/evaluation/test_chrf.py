"""chrF."""

from __future__ import annotations

import pytest

from seqtrain.errors import DataError
from seqtrain.evaluation import chrf


def test_text_that_equals_its_reference_scores_100() -> None:
    assert chrf(["ein Mann fährt Rad"], ["ein Mann fährt Rad"]) == pytest.approx(100)


def test_the_score_is_the_f2_score_of_the_mean_precision_and_recall_of_character_n_grams() -> None:
    # "abcd" against "abce": of 4, 3, 2, 1 n-grams 3, 2, 1, 0 are found, and there are no longer ones; precision =
    # recall, so the F-score of each order is that
    assert chrf(["abcd"], ["abce"]) == pytest.approx(100 * (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4)


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(DataError, match="there are no hypotheses to measure"):
        chrf([], [])
