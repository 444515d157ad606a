from __future__ import annotations

import torch
from torch.testing import assert_close

from seqtrain.nn.layout import Layout

PADDING = 1
TOKENS = torch.tensor([[4, 5, 6], [7, PADDING, PADDING]])


def test_a_dense_layout_has_a_row_for_every_position() -> None:
    layout = Layout.dense(TOKENS)
    matrix = torch.arange(24.0).view(2, 3, 4)
    assert layout.num_rows == 6
    assert torch.equal(layout.to_rows(matrix), matrix.view(6, 4))
    assert torch.equal(layout.to_matrix(matrix.view(6, 4)), matrix)


def test_a_packed_layout_has_rows_for_tokens_alone() -> None:
    layout = Layout.packed(TOKENS != PADDING)
    rows = layout.to_rows(TOKENS)
    assert rows.tolist() == [4, 5, 6, 7, 0, 0, 0, 0]
    assert layout.row_numbers().tolist() == [[0, 1, 2], [3, 7, 7]]


def test_a_packed_layout_spreads_its_rows() -> None:
    layout = Layout.packed(TOKENS != PADDING)
    matrix = torch.randn(2, 3, 4)
    spread = layout.to_matrix(layout.to_rows(matrix))
    is_token = TOKENS != PADDING
    assert torch.equal(spread[is_token], matrix[is_token])


def test_the_gradient_of_spreading_goes_to_rows_of_tokens() -> None:
    layout = Layout.packed(TOKENS != PADDING)
    rows = torch.randn(8, 4, requires_grad=True)
    weights = torch.randn(2, 3, 4)
    (gradient,) = torch.autograd.grad((layout.to_matrix(rows) * weights).sum(), rows)
    assert_close(gradient, layout.to_rows(weights))


def test_vectors_of_columns_are_repeated() -> None:
    vectors = torch.tensor([[0.0], [1.0], [2.0]], requires_grad=True)
    dense, packed = Layout.dense(TOKENS), Layout.packed(TOKENS != PADDING)
    assert dense.repeat(vectors).flatten().tolist() == [0, 1, 2, 0, 1, 2]
    assert packed.repeat(vectors)[:4].flatten().tolist() == [0, 1, 2, 0]
    (gradient,) = torch.autograd.grad(packed.repeat(vectors)[:4].sum(), vectors)
    assert gradient.flatten().tolist() == [2, 1, 1]


def test_rows_beyond_a_length_stand_for_no_token() -> None:
    assert Layout.packed(TOKENS != PADDING).row_numbers(5)[0].tolist() == [0, 1, 2, 7, 7]


def test_there_is_always_a_row_for_no_token() -> None:
    for number in (1, 7, 8, 9, 64, 4096):
        assert Layout.packed(torch.ones(number, 1, dtype=torch.bool)).num_rows > number


def test_few_sizes_serve_all_batches() -> None:
    sizes = {Layout.packed(torch.ones(number, 1, dtype=torch.bool)).num_rows for number in range(2048, 4096)}
    assert len(sizes) <= 33


def test_the_rows_for_no_token_cost_little() -> None:
    for number in range(500, 5000, 7):
        assert Layout.packed(torch.ones(number, 1, dtype=torch.bool)).num_rows < 1.04 * number


def test_rows_are_packed_where_a_cpu_trains() -> None:
    assert Layout.of(TOKENS, PADDING).positions is not None
    with torch.no_grad():
        assert Layout.of(TOKENS, PADDING).positions is None
