"""Batches."""

from __future__ import annotations

import numpy as np
import torch

from seqtrain.data.pairs import PairDataset


def test_a_batch_moves_as_a_whole() -> None:
    batch = PairDataset.from_lists([[4, 2], [5, 6, 2]], [[7, 2], [2]]).collate(np.array([1, 0]))
    moved = batch.to(torch.device("meta"))
    assert len(moved) == len(batch) == 2
    assert moved.num_tokens == batch.num_tokens == 3
    assert moved.source_tokens is not None
    assert moved.source_tokens.shape == (2, 3)
    for tensor in (moved.ids, moved.previous_tokens, moved.targets, moved.target_positions, moved.source_lengths):
        assert tensor is not None
        assert tensor.device.type == "meta"


def test_what_is_not_there_stays_so() -> None:
    batch = PairDataset.from_lists(None, [[7, 2]]).collate(np.array([0])).to(torch.device("meta"))
    assert batch.source_tokens is None
    assert batch.source_lengths is None
