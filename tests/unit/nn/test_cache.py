"""The cache against plain copies: each hypothesis' own keys and values, moved whenever the search moves it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.row_cache import RowCache

NUM_SENTENCES, NUM_HEADS, DIM = 3, 2, 4


class CopyingCache:
    """The keys of each hypothesis, (N, t, H, d)."""

    def __init__(self, num_rows: int) -> None:
        self.keys = torch.empty(num_rows, 0, NUM_HEADS, DIM)

    def append(self, keys: Tensor) -> None:
        self.keys = torch.cat([self.keys, keys[:, None]], dim=1)

    def attend(self, query: Tensor) -> Tensor:
        """What a query (N, H, d) reads when keys are values: (N, H, d)."""
        weights = torch.einsum("nhd,nthd->nht", query, self.keys).softmax(dim=-1)
        return torch.einsum("nht,nthd->nhd", weights, self.keys)


def attend(cache: TransformerCache, query: Tensor, keys: Tensor) -> Tensor:
    """One step with the cache: rows (N, H, d) as the attention layers hand them over, (B, H, K, d)."""
    batch, beam = cache.batch_size, cache.beam_size
    query, keys = (rows.view(batch, beam, NUM_HEADS, DIM).transpose(1, 2) for rows in (query, keys))
    kept, values = cache.append(0, keys, keys)
    scores = query @ kept.mT  # (B, H, K, C)
    if cache.ancestry_bias is not None:
        scores = scores + cache.ancestry_bias
    return (scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(0, 1)  # (N, H, d)


def check_histories(
    cache: TransformerCache | RowCache, step: Callable[[Tensor, Tensor], Tensor], *, num_steps: int
) -> None:
    """Search for so many steps, in which hypotheses continue others and a sentence leaves, beside plain copies.

    Args:
        cache: Empty, of `NUM_SENTENCES` sentences.
        step: Puts keys (N, H, d) into it, which are values as well, and attends with queries (N, H, d): (N, H, d).
        num_steps: Steps.
    """
    generator = torch.Generator().manual_seed(1)
    beam_size, num_rows = cache.beam_size, NUM_SENTENCES * cache.beam_size
    reference = CopyingCache(num_rows)
    for number in range(num_steps):
        query, keys = torch.randn(2, num_rows, NUM_HEADS, DIM, generator=generator)
        reference.append(keys)
        assert_close(step(query, keys), reference.attend(query))
        first_rows = torch.arange(num_rows) // beam_size * beam_size
        parents = first_rows + torch.randint(beam_size, (num_rows,), generator=generator)
        cache.reorder(parents)
        reference.keys = reference.keys[parents]
        if number == 10:
            kept = torch.tensor([0, 2])
            cache.keep(kept)
            rows = (kept[:, None] * beam_size + torch.arange(beam_size)).flatten()
            reference.keys = reference.keys[rows]
            num_rows = len(rows)
    assert cache.num_steps == num_steps


@pytest.mark.parametrize(("beam_size", "num_steps"), [(1, 100), (2, 150), (5, 80)])
def test_each_hypothesis_reads_its_own_history(beam_size: int, num_steps: int) -> None:
    cache = TransformerCache(1, NUM_SENTENCES, beam_size)

    def step(query: Tensor, keys: Tensor) -> Tensor:
        cache.start_step(torch.device("cpu"))
        return attend(cache, query, keys)

    check_histories(cache, step, num_steps=num_steps)


def test_long_texts_cost_little_more_than_their_length() -> None:
    """When all hypotheses come from one ancestor, the others' slots are given up."""
    beam_size, num_steps = 4, 600
    cache = TransformerCache(1, 1, beam_size)
    for _ in range(num_steps):
        cache.start_step(torch.device("cpu"))
        keys = torch.zeros(1, NUM_HEADS, beam_size, DIM)
        kept, _ = cache.append(0, keys, keys)
        cache.reorder(torch.zeros(beam_size, dtype=torch.long))
    assert kept.shape[2] < 2 * num_steps


def test_keys_are_not_moved_by_reordering() -> None:
    cache = TransformerCache(1, 1, 2)
    cache.start_step(torch.device("cpu"))
    kept, _ = cache.append(0, torch.ones(1, NUM_HEADS, 2, DIM), torch.ones(1, NUM_HEADS, 2, DIM))
    address = kept.data_ptr()
    cache.reorder(torch.tensor([1, 1]))
    cache.start_step(torch.device("cpu"))
    kept, _ = cache.append(0, torch.ones(1, NUM_HEADS, 2, DIM), torch.ones(1, NUM_HEADS, 2, DIM))
    assert kept.data_ptr() == address


def test_the_memory_of_forgotten_sentences_goes() -> None:
    cache = TransformerCache(1, 3, 2)
    keys = torch.arange(3.0).view(3, 1, 1, 1)
    cache.memory, cache.memory_bias = [(keys, -keys)], keys
    cache.keep(torch.tensor([0, 2]))
    key, value = cache.memory[0]
    assert key.flatten().tolist() == [0.0, 2.0]
    assert value.flatten().tolist() == [0.0, -2.0]
    assert cache.memory_bias.flatten().tolist() == [0.0, 2.0]
