"""Perplexity."""

from __future__ import annotations

import math

import pytest

from seqtrain.evaluation import perplexity


def test_a_uniform_choice_among_n_tokens_has_perplexity_n() -> None:
    assert perplexity(7 * math.log(32), 7) == pytest.approx(32)


def test_what_no_float_can_hold_is_infinite() -> None:
    assert perplexity(1e6, 1) == math.inf
