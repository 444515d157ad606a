from __future__ import annotations

import pytest
import torch

from seqtrain.nn.init import embedding_table, linear_without_bias, xavier_blocks_


def test_embeddings_have_the_deviation_of_their_width() -> None:
    torch.manual_seed(1)
    weight = embedding_table(4000, 25, 1).weight
    assert weight.std().item() == pytest.approx(0.2, rel=0.02)
    assert weight[1].count_nonzero() == 0


def test_looking_up_padding_gives_it_no_gradient() -> None:
    table = embedding_table(5, 3, 1)
    table(torch.tensor([1, 2])).sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad[:, 0].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]


def test_a_map_between_widths_is_xavier_uniform() -> None:
    torch.manual_seed(1)
    linear = linear_without_bias(60, 40)
    assert set(linear.state_dict()) == {"weight"}
    assert linear.weight.abs().max().item() == pytest.approx((6 / 100) ** 0.5, rel=0.01)


def test_blocks_are_drawn_as_if_each_stood_alone() -> None:
    weight = torch.empty(120, 40)
    xavier_blocks_(weight, 3, gain=0.5)
    for block in weight.chunk(3):
        assert block.abs().max().item() == pytest.approx(0.5 * (6 / 80) ** 0.5, rel=0.02)
