from __future__ import annotations

import pytest
import torch

from seqtrain.nn.layout import Layout


def test_sequences_stand_one_after_the_other() -> None:
    matrix = torch.arange(24).view(2, 3, 4)
    layout = Layout(2, 3, 8)
    rows = layout.to_rows(matrix)
    assert rows[:6].tolist() == matrix.view(6, 4).tolist()
    assert rows[6:].count_nonzero() == 0
    assert torch.equal(layout.to_matrix(rows), matrix)


@pytest.mark.parametrize(("num_tokens", "num_rows"), [(1, 8), (8, 8), (9, 16), (600, 608), (2049, 2112), (4096, 4096)])
def test_a_training_batch_has_a_round_number_of_rows(num_tokens: int, num_rows: int) -> None:
    assert Layout.of(torch.zeros(num_tokens, 1)).num_rows == num_rows


def test_few_sizes_serve_all_batches() -> None:
    sizes = {Layout.of(torch.empty(number, 1)).num_rows for number in range(2048, 4096)}
    assert len(sizes) <= 33


def test_the_rows_beyond_cost_little() -> None:
    assert all(Layout.of(torch.empty(number, 1)).num_rows < 1.04 * number for number in range(500, 5000, 7))


def test_without_gradients_there_are_no_rows_beyond() -> None:
    with torch.no_grad():
        assert Layout.of(torch.zeros(3, 3)).num_rows == 9
