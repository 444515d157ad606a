"""Flat tokens to padded rows, against plain loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.collate import Slices, gather_padded, make_batch
from seqtrain.data.vocabulary import Vocabulary

PAD, EOS = Vocabulary.pad, Vocabulary.eos
ROWS = st.lists(st.lists(st.integers(4, 99), max_size=6), min_size=1, max_size=6)


def flatten(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    flat = np.array([token for row in rows for token in row], dtype=np.int64)
    return flat, np.array([len(row) for row in rows], dtype=np.int64)


def slices(rows: list[list[int]]) -> Slices:
    """The rows as slices of an array that holds them in the reverse order, of the numbers that files have."""
    flat, lengths = flatten(rows[::-1])
    return Slices(flat.astype(np.uint16), (np.cumsum(lengths) - lengths)[::-1], lengths[::-1].copy())


def test_rows_are_padded_on_the_right() -> None:
    matrix, is_padding = gather_padded(slices([[4, 5], [6], [7, 8, 9]]))
    assert matrix.tolist() == [[4, 5, PAD], [6, PAD, PAD], [7, 8, 9]]
    assert matrix.dtype == np.int64
    assert is_padding.tolist() == [[False, False, True], [False, True, True], [False] * 3]
    assert gather_padded(slices([[], []]))[0].shape == (2, 0)


def test_a_batch_by_hand() -> None:
    batch = make_batch(np.array([8, 3]), slices([[4, EOS], [5, 6, EOS]]), source=slices([[9, 9, EOS], [7, EOS]]))
    assert batch.ids.tolist() == [8, 3]
    assert batch.previous_tokens.tolist() == [[EOS, 4, PAD], [EOS, 5, 6]]
    assert batch.targets.tolist() == [[4, EOS, PAD], [5, 6, EOS]]
    assert batch.target_positions.tolist() == [0, 1, 3, 4, 5]
    assert batch.num_tokens == 5
    assert batch.source_tokens is not None
    assert batch.source_lengths is not None
    assert batch.source_tokens.tolist() == [[9, 9, EOS], [7, EOS, PAD]]
    assert batch.source_lengths.tolist() == [3, 2]


def test_a_batch_without_sources() -> None:
    batch = make_batch(np.array([0]), slices([[4, 5]]), first=np.array([17]))
    assert batch.source_tokens is None
    assert batch.source_lengths is None
    assert batch.previous_tokens.tolist() == [[17, 4]]


@settings(max_examples=100, deadline=None)
@given(rows=ROWS)
def test_batches_equal_those_of_plain_loops(rows: list[list[int]]) -> None:
    batch = make_batch(np.arange(len(rows)), slices(rows))
    width = max(len(row) for row in rows)
    assert batch.targets.tolist() == [row + [PAD] * (width - len(row)) for row in rows]
    previous = [[EOS, *row][: len(row)] for row in rows]
    assert batch.previous_tokens.tolist() == [row + [PAD] * (width - len(row)) for row in previous]
    targets = batch.targets.flatten()
    assert batch.target_positions.tolist() == (targets != PAD).nonzero().flatten().tolist()
    assert batch.num_tokens == sum(len(row) for row in rows)
