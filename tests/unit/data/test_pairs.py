"""Pairs of sequences."""

from __future__ import annotations

import numpy as np

from seqtrain.data.pairs import PairDataset
from seqtrain.data.tokens import TokenTable

SOURCES = [[4, 2], [5, 6, 7, 2], [8, 2]]
TARGETS = [[14, 15, 2], [16, 2], [2]]


def test_lengths_are_of_source_and_target() -> None:
    dataset = PairDataset.from_lists(SOURCES, TARGETS)
    assert len(dataset) == 3
    assert dataset.lengths.tolist() == [[2, 3], [4, 2], [2, 1]]
    assert dataset.lengths.dtype == np.int64


def test_pairs_are_collated_in_the_order_of_the_indices() -> None:
    batch = PairDataset.from_lists(SOURCES, TARGETS).collate(np.array([2, 0]))
    assert batch.ids.tolist() == [2, 0]
    assert batch.source_tokens is not None
    assert batch.source_tokens.tolist() == [[8, 2], [4, 2]]
    assert batch.targets.tolist() == [[2, 1, 1], [14, 15, 2]]
    assert batch.previous_tokens.tolist() == [[2, 1, 1], [2, 14, 15]]


def test_targets_alone_have_source_length_zero() -> None:
    dataset = PairDataset.from_lists(None, TARGETS, first_token=9)
    assert dataset.lengths.tolist() == [[0, 3], [0, 2], [0, 1]]
    batch = dataset.collate(np.array([0, 1]))
    assert batch.source_tokens is None
    assert batch.previous_tokens.tolist() == [[9, 14, 15], [9, 16, 1]]


def test_a_part_of_the_tables_keeps_pairs_together() -> None:
    source, target = TokenTable.from_lists(SOURCES).part(1, 3), TokenTable.from_lists(TARGETS).part(1, 3)
    batch = PairDataset(source, target).collate(np.array([1, 0]))
    assert batch.source_tokens is not None
    assert batch.source_tokens.tolist() == [[8, 2, 1, 1], [5, 6, 7, 2]]
    assert batch.targets.tolist() == [[2, 1], [16, 2]]


def test_the_fingerprint_depends_on_both_sides() -> None:
    datasets = [
        PairDataset.from_lists(SOURCES, TARGETS),
        PairDataset.from_lists(TARGETS, SOURCES),
        PairDataset.from_lists(SOURCES, SOURCES),
        PairDataset.from_lists(None, TARGETS),
    ]
    assert len({dataset.fingerprint for dataset in datasets}) == 4
    assert datasets[0].fingerprint == PairDataset.from_lists(SOURCES, TARGETS).fingerprint
