"""Perplexity."""

from __future__ import annotations

import math


def perplexity(nll_sum: float, num_tokens: float) -> float:
    """How many equally probable tokens a model chooses among, on average: exp(nll_sum / num_tokens).

    Args:
        nll_sum: The negative log-likelihood of all tokens, in nats.
        num_tokens: How many tokens that were.

    Returns:
        Infinity where the exponential is beyond a float.
    """
    try:
        return math.exp(nll_sum / num_tokens)
    except OverflowError:
        return math.inf
