from __future__ import annotations

import pytest
import torch

from seqtrain.nn.head_index import head_index
from seqtrain.nn.layout import Layout

NUM_HEADS, DIM = 2, 3
IS_TOKEN = torch.tensor([[True, True, True], [True, False, False]])


@pytest.mark.parametrize("layout", [Layout(2, 3, 6), Layout.packed(IS_TOKEN)])
def test_blocks_of_rows_become_heads_of_sequences(layout: Layout) -> None:
    rows = torch.randn(layout.num_rows, 2 * NUM_HEADS * DIM)
    first, second = head_index(layout, NUM_HEADS, 3, 5).pack(rows, torch.float64)
    assert first.shape == (2 * NUM_HEADS, 3, DIM)
    assert second.shape == (2 * NUM_HEADS, 5, DIM)
    assert first.dtype is torch.float64
    matrix = layout.to_matrix(rows).view(2, 3, 2, NUM_HEADS, DIM).double()
    for sequence, column in IS_TOKEN.nonzero().tolist():
        for head in range(NUM_HEADS):
            number = sequence * NUM_HEADS + head
            assert torch.equal(first[number, column], matrix[sequence, column, 0, head])
            assert torch.equal(second[number, column], matrix[sequence, column, 1, head])


def test_heads_become_rows_again() -> None:
    layout = Layout.packed(IS_TOKEN)
    index = head_index(layout, NUM_HEADS, 3, 5)
    rows = torch.randn(layout.num_rows, 2 * NUM_HEADS * DIM)
    *blocks, memory = index.empty(DIM, torch.float32)
    for block, packed in zip(blocks, index.pack(rows, torch.float32), strict=True):
        block.copy_(packed)
    unpacked = index.unpack(memory, torch.float32)
    assert torch.equal(unpacked[:4], rows[:4])
    assert unpacked[4:].count_nonzero() == 0  # rows that stand for no token


def test_an_index_is_made_once_for_a_layout() -> None:
    layout = Layout.packed(IS_TOKEN)
    assert head_index(layout, NUM_HEADS, 3) is head_index(layout, NUM_HEADS, 3)
    assert head_index(layout, NUM_HEADS, 3) is not head_index(layout, NUM_HEADS, 3, 3)
