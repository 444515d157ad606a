"""Distributions of the next tokens."""

from __future__ import annotations

import math

import torch

from seqtrain.generation.predictions import LazyPredictions, MeanPredictions, log_normalizers


def test_the_normalizers_are_logarithms_of_sums_of_exponentials() -> None:
    scores = torch.tensor([[0.0, 0.0, 0.0], [math.log(2), math.log(3), -math.inf], [300.0, -300.0, 299.0]])
    expected = torch.tensor([[math.log(3)], [math.log(5)], [300 + math.log1p(math.exp(-1))]])
    torch.testing.assert_close(log_normalizers(scores), expected)


def test_a_temperature_divides_the_logits() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]])
    predictions = LazyPredictions(logits, lambda rows: rows, temperature=0.5)
    torch.testing.assert_close(predictions.rows(slice(0, 1)).log_probs(), (2 * logits[:1]).log_softmax(dim=1))


def test_what_the_model_keeps_is_not_changed() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    LazyPredictions(logits, lambda rows: rows).rows(slice(None)).scores.fill_(0)
    assert logits.tolist() == [[1, 2, 3]]


def test_the_mean_of_two_models_is_of_their_probabilities() -> None:
    first, second = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    mean = MeanPredictions([LazyPredictions(logits, lambda rows: rows) for logits in (first, second)])
    torch.testing.assert_close(mean.rows(slice(None)).log_probs().exp(), torch.tensor([[0.7, 0.3]]))
