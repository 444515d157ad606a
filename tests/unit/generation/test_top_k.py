"""The k greatest."""

from __future__ import annotations

import math

import pytest
import torch

from seqtrain.generation.top_k import top_k


@pytest.mark.parametrize("num_values", [5, 64, 4095, 4096, 5001, 8192])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_values_and_indices_are_those_of_a_full_sort(num_values: int, k: int) -> None:
    values = torch.randn(2, 3, num_values, generator=torch.Generator().manual_seed(1))
    expected = values.sort(dim=-1, descending=True)
    found, indices = top_k(values, k)
    torch.testing.assert_close(found, expected.values[..., :k])
    torch.testing.assert_close(indices, expected.indices[..., :k])


def test_the_greatest_may_all_stand_in_one_block_or_behind_the_last() -> None:
    values = torch.zeros(2, 5000)
    values[0, 128:131] = torch.tensor([1.0, 3.0, 2.0])
    values[1, -3:] = torch.tensor([1.0, 3.0, 2.0])
    found, indices = top_k(values, 3)
    assert found.tolist() == [[3, 2, 1], [3, 2, 1]]
    assert indices.tolist() == [[129, 130, 128], [4998, 4999, 4997]]


def test_forbidden_values_come_last() -> None:
    values = torch.full((1, 5000), -math.inf)
    values[0, 4321] = -7
    found, indices = top_k(values, 2)
    assert found.tolist() == [[-7, -math.inf]]
    assert indices[0, 0] == 4321
    assert indices[0, 1] != 4321
