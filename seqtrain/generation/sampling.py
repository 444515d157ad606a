"""Sampling: tokens are drawn from the model's distribution, the whole of it or its head.

Shapes: B sentences, K samples of each, V entries of the vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqtrain.generation.constraints import Place
from seqtrain.generation.strategy import Candidates, Expansion, Strategy
from seqtrain.generation.top_k import top_k as top_k_of


class Sampling(Strategy):
    """Draws K texts for each sentence, each token by itself.

    The draws are a function of the seed, the sentence's number, the sample and the step: there is no random state, and
    a text does not depend on what else is in the batch. A sample is scored by the model's own probabilities, before
    the distribution is cut to its head.

    Args:
        end_symbol: Ends a text.
        top_k: Draw among the k most probable tokens (Fan et al., 2018).
        top_p: Draw among the fewest most probable tokens whose probabilities sum to p (Holtzman et al., 2020).
        seed: Of the draws.
    """

    moves_rows = False

    def __init__(self, end_symbol: int, *, top_k: int | None, top_p: float | None, seed: int) -> None:
        self.end_symbol = end_symbol
        self.top_k = top_k
        self.top_p = top_p
        self.seed = seed

    def narrow(self, scores: Tensor, normalizers: Tensor, place: Place) -> Candidates:
        """See `Strategy`: the token that each row draws."""
        log_probs = scores.sub_(normalizers)
        draws = uniform_draws(self.seed, place.ids, num_samples=scores.shape[1], step=place.step)
        tokens = sample(log_probs, draws, top_k=self.top_k, top_p=self.top_p)[:, :, None]  # (B, K, 1)
        return Candidates(log_probs.gather(2, tokens), tokens)

    def expand(self, candidates: Candidates, totals: Tensor, place: Place) -> Expansion:
        """See `Strategy`."""
        tokens = candidates.tokens[:, :, 0]
        sums = totals + candidates.log_probs[:, :, 0]
        is_end = tokens == self.end_symbol
        rows = torch.arange(totals.shape[1], device=totals.device).expand_as(totals)
        return Expansion(
            ended=is_end & (sums != -math.inf),
            ended_rows=rows,
            ended_totals=sums,
            parents=rows,
            tokens=tokens,
            totals=sums.masked_fill(is_end, -math.inf),  # what has ended is ignored from here on
        )


def sample(log_probs: Tensor, draws: Tensor, *, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Draw a token from each distribution, by the inverse of the cumulative one.

    Args:
        log_probs: (..., V), not all minus infinity.
        draws: (...) float64 in [0, 1).
        top_k: Draw among the k most probable.
        top_p: Draw among the fewest most probable whose probabilities sum to p; with top_k, those that both allow.

    Returns:
        (...) int64.
    """
    if top_k is None and top_p is None:
        return _invert(log_probs.double().exp(), draws)
    num_candidates = log_probs.shape[-1] if top_k is None else min(top_k, log_probs.shape[-1])
    values, tokens = top_k_of(log_probs, num_candidates)  # most probable first
    probabilities = values.double().exp()
    if top_p is not None:
        before = probabilities.cumsum(dim=-1) - probabilities  # what the more probable ones sum to
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    return tokens.gather(-1, _invert(probabilities, draws)[..., None])[..., 0]


def _invert(weights: Tensor, draws: Tensor) -> Tensor:
    """The first index at which the cumulated weights (..., V) exceed the drawn share (...) of their sum."""
    cumulated = weights.cumsum(dim=-1)
    thresholds = draws[..., None] * cumulated[..., -1:]
    return torch.searchsorted(cumulated, thresholds, right=True)[..., 0].clamp(max=weights.shape[-1] - 1)


def uniform_draws(seed: int, ids: Tensor, *, num_samples: int, step: int) -> Tensor:
    """A number in [0, 1) for each sentence and sample, a hash of where it is used.

    Args:
        seed: Of all draws.
        ids: (B,) int64, the sentences' numbers.
        num_samples: K.
        step: Of the search.

    Returns:
        (B, K) float64, multiples of 2**-32.
    """
    samples = torch.arange(num_samples, device=ids.device)
    state = _mix(ids + _mix(torch.full_like(ids, seed)))  # (B,)
    state = _mix(state[:, None] + samples)  # (B, K)
    state = _mix(state + step)
    return (state & 0xFFFFFFFF).double() / 2**32


def _mix(state: Tensor) -> Tensor:
    """A step of SplitMix64 (Steele et al., 2014): int64 to int64, modulo 2**64."""
    state = state + _signed(0x9E3779B97F4A7C15)
    state = (state ^ _shift_right(state, 30)) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ _shift_right(state, 27)) * _signed(0x94D049BB133111EB)
    return state ^ _shift_right(state, 31)


def _shift_right(state: Tensor, num_bits: int) -> Tensor:
    """Shift zeros in, not the sign."""
    return (state >> num_bits) & ((1 << (64 - num_bits)) - 1)


def _signed(value: int) -> int:
    """The int64 with the same bits."""
    return value - (1 << 64) if value >= 1 << 63 else value
