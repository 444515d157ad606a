"""BLEU."""

from __future__ import annotations

import math

import pytest

from seqtrain.errors import ConfigError, DataError
from seqtrain.evaluation import bleu


def test_text_that_equals_its_reference_scores_100() -> None:
    text = ["a man rides a red bicycle .", "two dogs run through the deep snow ."]
    assert bleu(text, text) == pytest.approx(100)


def test_the_score_is_the_geometric_mean_of_the_precisions_times_the_brevity_penalty() -> None:
    # n-grams of "the cat sat on mat" found in "the cat sat on the mat": 5/5, 3/4, 2/3, 1/2; 5 words against 6
    precision = (5 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    expected = 100 * math.exp(1 - 6 / 5) * precision
    assert bleu(["the cat sat on mat"], ["the cat sat on the mat"]) == pytest.approx(expected)


def test_counts_are_summed_over_the_corpus_before_precisions_are_formed() -> None:
    # 1-grams 8/8, 2-grams 6/6, 3-grams 4/4, 4-grams 2/2: the sentence of two words has no 4-gram, and costs nothing
    assert bleu(["a b", "c d e f g h"], ["a b", "c d e f g h"]) == pytest.approx(100)


def test_the_tokenizer_decides_what_a_word_is() -> None:
    hypotheses, references = ["a b c d e ."], ["a b c d e."]
    assert bleu(hypotheses, references) == pytest.approx(100)
    assert bleu(hypotheses, references, tokenizer="none") < 100


def test_an_empty_hypothesis_scores_nothing() -> None:
    assert bleu([""], ["a b c d"]) == 0


def test_text_that_looks_tokenized_writes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    bleu(["a b ."] * 200, ["a b ."] * 200)
    assert caplog.records == []


def test_different_numbers_of_strings_are_named() -> None:
    with pytest.raises(DataError, match="2 hypotheses cannot be compared with 1 references"):
        bleu(["a", "b"], ["a"])


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(DataError, match="there are no hypotheses to measure"):
        bleu([], [])


def test_an_unknown_tokenizer_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no tokenizer '14a'\nchoose one of .*13a"):
        bleu(["a"], ["a"], tokenizer="14a")
