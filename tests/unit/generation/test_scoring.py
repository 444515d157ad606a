"""Scores."""

from __future__ import annotations

import math

import pytest
import torch

from seqtrain.generation.scoring import LengthPenalty, target_log_probs


def test_exponent_1_ranks_by_the_mean_and_0_by_the_sum() -> None:
    assert LengthPenalty(1.0).score(-6.0, 4) == -1.5
    assert LengthPenalty(0.0).score(-6.0, 4) == -6


def test_the_score_is_the_sum_over_a_power_of_the_length() -> None:
    assert LengthPenalty(0.6).score(-6.0, 4) == pytest.approx(-6 / 4**0.6)


def test_a_greater_exponent_favours_longer_hypotheses() -> None:
    short, long = (-2.0, 2), (-5.0, 5)
    assert LengthPenalty(0.5).score(*short) > LengthPenalty(0.5).score(*long)
    assert LengthPenalty(1.5).score(*short) < LengthPenalty(1.5).score(*long)


def test_the_log_probability_of_a_target_is_its_share_of_the_exponentials() -> None:
    logits = torch.tensor([[[0.0, math.log(3)], [math.log(4), 0.0]]])
    targets = torch.tensor([[1, 1]])
    expected = torch.tensor([[math.log(3 / 4), math.log(1 / 5)]])
    torch.testing.assert_close(target_log_probs(logits, targets), expected)


def test_half_precision_logits_give_float32_scores() -> None:
    assert target_log_probs(torch.zeros(1, 1, 4).bfloat16(), torch.tensor([[2]])).dtype is torch.float32
