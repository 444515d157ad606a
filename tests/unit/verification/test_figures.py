"""The figures of the report, each computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.config.root import BatchingConfig
from seqtrain.data.batching import Plan
from seqtrain.data.dataset import IterationOptions
from seqtrain.verification.figures import (
    batch_figures,
    copies,
    median_ratio,
    padding_shares,
    repeats,
    side_figures,
    unevenness,
)
from seqtrain.verification.lines import marks_of_text


def test_the_figures_of_one_language() -> None:
    lines = ["a", "b b", "a", "", "x\ufffd", "a", "c\r"]
    figures = side_figures("en", marks_of_text(lines), np.array([2, 3, 2, 1, 2, 2, 9]), num_unknown=4)
    assert figures.num_lines == 7
    assert figures.num_tokens == 21
    assert figures.mean_length == 3.0
    assert figures.median_length == 2  # 1 2 2 (2) 2 3 9
    assert figures.max_length == 9
    assert figures.num_unknown == 4
    assert figures.num_empty == 1
    assert figures.num_duplicates == 2  # the second and the third "a"
    assert figures.num_replacement == 1
    assert figures.num_control == 1


def test_so_many_percent_of_the_lines_are_at_most_so_long() -> None:
    lengths = np.arange(1, 201)
    figures = side_figures("en", marks_of_text([str(length) for length in lengths]), lengths, num_unknown=0)
    assert (figures.median_length, figures.length_95, figures.length_99) == (100, 190, 198)


def test_the_first_of_equal_lines_is_no_repetition() -> None:
    assert repeats(marks_of_text(["x", "y", "x", "x", "z"]).digests).tolist() == [False, False, True, True, False]


def test_an_empty_pair_is_no_copy() -> None:
    source, target = marks_of_text(["same", "one", ""]), marks_of_text(["same", "two", ""])
    assert copies(source, target).tolist() == [True, False, False]


def test_a_pair_is_as_uneven_as_its_longer_side_is_long() -> None:
    source, target = np.array([2, 9, 4]), np.array([6, 3, 4])
    assert unevenness(source, target).tolist() == [3.0, 3.0, 1.0]
    assert median_ratio(source, target) == 1.0  # of 1/3, 3 and 1


def test_padding_is_what_is_left_of_the_rectangles() -> None:
    lengths = np.array([[2, 4], [4, 4], [3, 1], [1, 3]])
    # batch 0: sources 2 + 4 of 2 * 4, targets 8 of 8; batch 1: sources 3 + 1 of 2 * 3, targets 4 of 6
    shares = padding_shares(lengths, [np.array([0, 1]), np.array([2, 3])])
    assert shares == {"source": pytest.approx(1 - 10 / 14), "target": pytest.approx(1 - 12 / 14)}


def test_a_text_without_sources_has_padding_of_targets_alone() -> None:
    assert padding_shares(np.array([[0, 3], [0, 3]]), [np.array([0, 1])]) == {"target": 0.0}


def test_the_batches_are_those_of_training() -> None:
    lengths = np.array([[3, 3], [3, 3], [3, 2], [9, 3]])
    options = IterationOptions(batching=BatchingConfig(max_tokens=6), max_positions=(8, 8))
    figures = batch_figures(lengths, Plan(lengths, options))
    # the plan sorts by source, then target: [2, 0 or 1] make 6 tokens, and the other one is alone
    assert (figures.num_examples, figures.num_batches) == (3, 2)
    assert figures.filtered == {"source longer than 8 tokens": 1}
    assert figures.padding == {"source": 0.0, "target": pytest.approx(1 - 8 / 9)}
