"""The cache of compiled kernels against plain copies: each hypothesis' own keys, moved whenever the search moves it."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.decoding_kernels import decoding_kernels
from seqtrain.nn.native.build import find_compiler
from seqtrain.nn.row_cache import RowCache
from tests.unit.nn.test_cache import DIM, NUM_HEADS, NUM_SENTENCES, CopyingCache

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")


def make_cache(num_sentences: int, beam_size: int) -> RowCache:
    return RowCache(TransformerCache(1, num_sentences, beam_size), decoding_kernels())


@pytest.mark.parametrize(("beam_size", "num_steps"), [(1, 100), (2, 150), (5, 80)])
def test_each_hypothesis_reads_its_own_history(beam_size: int, num_steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    sentences = torch.arange(NUM_SENTENCES)
    cache = make_cache(NUM_SENTENCES, beam_size)
    reference = CopyingCache(NUM_SENTENCES * beam_size)
    for step in range(num_steps):
        num_rows = len(sentences) * beam_size
        query, keys = torch.randn(2, num_rows, NUM_HEADS, DIM, generator=generator)
        cache.start_step(beam_size)
        reference.append(keys)
        projected = torch.cat([query.flatten(1), keys.flatten(1), keys.flatten(1)], dim=1)
        assert_close(cache.attend(0, projected, NUM_HEADS), reference.attend(query).flatten(1))
        first_rows = torch.arange(num_rows) // beam_size * beam_size
        parents = first_rows + torch.randint(beam_size, (num_rows,), generator=generator)
        cache.reorder(parents)
        reference.keys = reference.keys[parents]
        if step == 10:
            kept = torch.tensor([0, 2])
            cache.keep(kept)
            sentences = sentences[kept]
            rows = (kept[:, None] * beam_size + torch.arange(beam_size)).flatten()
            reference.keys = reference.keys[rows]
    assert cache.num_steps == num_steps


def test_long_texts_cost_little_more_than_their_length() -> None:
    """When all hypotheses come from one ancestor, the others' slots are given up."""
    beam_size, num_steps = 4, 600
    cache = make_cache(1, beam_size)
    for _ in range(num_steps):
        cache.start_step(beam_size)
        cache.attend(0, torch.zeros(beam_size, 3 * NUM_HEADS * DIM), NUM_HEADS)
        cache.reorder(torch.zeros(beam_size, dtype=torch.long))
    assert cache.num_slots < 3 * num_steps
