"""The cache of compiled kernels against plain copies: each hypothesis' own keys, moved whenever the search moves it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.decoding_kernels import decoding_kernels
from seqtrain.nn.native.build import find_compiler
from seqtrain.nn.row_cache import RowCache
from tests.unit.nn.test_cache import DIM, NUM_HEADS, NUM_SENTENCES, check_histories

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")


def make_cache(num_sentences: int, beam_size: int) -> RowCache:
    return RowCache(TransformerCache(1, num_sentences, beam_size), decoding_kernels())


@pytest.mark.parametrize(("beam_size", "num_steps"), [(1, 100), (2, 150), (5, 80)])
def test_each_hypothesis_reads_its_own_history(beam_size: int, num_steps: int) -> None:
    cache = make_cache(NUM_SENTENCES, beam_size)

    def step(query: Tensor, keys: Tensor) -> Tensor:
        cache.start_step(beam_size)
        projected = torch.cat([rows.flatten(1) for rows in (query, keys, keys)], dim=1)
        return cache.attend(0, projected, NUM_HEADS).view_as(query)

    check_histories(cache, step, num_steps=num_steps)


def test_long_texts_cost_little_more_than_their_length() -> None:
    """When all hypotheses come from one ancestor, the others' slots are given up."""
    beam_size, num_steps = 4, 600
    cache = make_cache(1, beam_size)
    for _ in range(num_steps):
        cache.start_step(beam_size)
        cache.attend(0, torch.zeros(beam_size, 3 * NUM_HEADS * DIM), NUM_HEADS)
        cache.reorder(torch.zeros(beam_size, dtype=torch.long))
    assert cache.num_slots < 3 * num_steps
