"""What may be written next."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

from seqtrain.generation.constraints import MaximumLength, MinimumLength, NoRepeatedNgrams, Place
from tests.unit.generation.reference import repeats_ngram

PAD, EOS = 1, 2


def place(lengths: list[int], max_lengths: list[int], text: Tensor | None = None) -> Place:
    bounds = torch.tensor(lengths), torch.tensor(max_lengths)
    return Place(
        step=max(lengths),
        lengths=bounds[0],
        max_lengths=bounds[1],
        smallest_length=min(lengths),
        can_be_full=bool((bounds[0] >= bounds[1]).any()),
        ids=torch.arange(len(lengths)),
        is_first=None,
        text=text,
    )


def allowed(log_probs: Tensor) -> list[list[list[int]]]:
    """The tokens that are left to each row."""
    return [[[*torch.nonzero(row > -math.inf).flatten().tolist()] for row in rows] for rows in log_probs]


def test_a_full_hypothesis_can_only_end() -> None:
    log_probs = torch.zeros(2, 1, 5)
    MaximumLength(EOS).apply(log_probs, place([3, 3], [3, 4]))
    assert allowed(log_probs) == [[[EOS]], [[0, 1, 2, 3, 4]]]


def test_a_short_hypothesis_cannot_end() -> None:
    log_probs = torch.zeros(2, 1, 5)
    MinimumLength(EOS, 2).apply(log_probs, place([1, 2], [9, 9]))
    assert allowed(log_probs) == [[[0, 1, 3, 4]], [[0, 1, 2, 3, 4]]]


def test_the_greatest_length_wins_over_the_least() -> None:
    log_probs = torch.zeros(1, 1, 5)
    for constraint in (MinimumLength(EOS, 5), MaximumLength(EOS)):
        constraint.apply(log_probs, place([3], [3]))
    assert allowed(log_probs) == [[[EOS]]]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_exactly_the_tokens_that_would_repeat_an_ngram_are_forbidden(size: int) -> None:
    randomness = random.Random(size)
    texts = [[randomness.randint(4, 6) for _ in range(12)] for _ in range(50)]
    for length in range(13):
        text = torch.tensor([[EOS, *tokens[:length]] for tokens in texts]).view(25, 2, length + 1)
        log_probs = torch.zeros(25, 2, 7)
        NoRepeatedNgrams(size, PAD).apply(log_probs, place([length] * 25, [99] * 25, text))
        for row, tokens in zip(log_probs.flatten(0, 1), texts, strict=True):
            for token in (4, 5, 6):
                is_repeated = repeats_ngram((*tokens[:length], token), size)
                assert (row[token] == -math.inf) == is_repeated
