"""Rows of a packed batch, and the attention over them by all backends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqtrain.config.sections import AttentionBackend
from seqtrain.nn.attention_backends import AttentionShape, attend_rows
from seqtrain.nn.packed_layout import packed_bias
from tests.unit.nn.packed_rows import (
    DIM,
    NUM_HEADS,
    SOURCE_LENGTHS,
    TARGET_LENGTHS,
    WIDTH,
    assert_agrees,
    batch,
    layouts,
    rows,
)


def sentence_by_sentence(
    query: Tensor, key_value: Tensor, lengths: tuple[list[int], list[int]], *, is_causal: bool
) -> Tensor:
    """Each sentence's queries over its own keys, by the formula; the rows of all tokens."""
    outputs = []
    queries = query[: sum(lengths[0])].split(lengths[0])
    keys_and_values = key_value[: sum(lengths[1])].split(lengths[1])
    for q, kv in zip(queries, keys_and_values, strict=True):
        k, v = kv.view(-1, 2, NUM_HEADS, DIM).permute(1, 2, 0, 3)
        scores = q.view(-1, NUM_HEADS, DIM).transpose(0, 1) @ k.mT / DIM**0.5  # (H, T, S)
        if is_causal:
            scores = scores + torch.full(scores.shape[1:], float("-inf"), dtype=scores.dtype).triu(1)
        outputs.append((scores.softmax(dim=-1) @ v).transpose(0, 1).flatten(1))
    return torch.cat(outputs)


@pytest.mark.parametrize("backend", [AttentionBackend.auto, AttentionBackend.matmul, AttentionBackend.sdpa])
@pytest.mark.parametrize("is_causal", [False, True])
def test_self_attention_is_that_of_each_sentence(backend: AttentionBackend, is_causal: bool) -> None:
    _, target = layouts()
    x = rows(target, 3, seed=1)
    output = attend_rows(x, None, None, AttentionShape(NUM_HEADS, target, target, is_causal, backend=backend))
    lengths = (TARGET_LENGTHS, TARGET_LENGTHS)
    expected = sentence_by_sentence(x[:, :WIDTH], x[:, WIDTH:], lengths, is_causal=is_causal)
    assert_agrees(output, expected, [x])


@pytest.mark.parametrize("backend", [AttentionBackend.auto, AttentionBackend.matmul, AttentionBackend.sdpa])
def test_cross_attention_is_that_of_each_sentence(backend: AttentionBackend) -> None:
    source, target = layouts()
    query, key_value = rows(target, 1, seed=1), rows(source, 2, seed=2)
    output = attend_rows(query, key_value, None, AttentionShape(NUM_HEADS, target, source, backend=backend))
    expected = sentence_by_sentence(query, key_value, (TARGET_LENGTHS, SOURCE_LENGTHS), is_causal=False)
    assert_agrees(output, expected, [query, key_value])


def test_nothing_but_numbers_comes_out_of_rows_without_a_token() -> None:
    source, target = layouts()
    shape = AttentionShape(NUM_HEADS, target, source, backend=AttentionBackend.sdpa)
    query, key_value = rows(target, 1, seed=1), rows(source, 2, seed=2)
    output = attend_rows(query, key_value, None, shape)
    output[: sum(TARGET_LENGTHS)].sum().backward()
    assert torch.isfinite(output).all()
    assert query.grad is not None
    assert key_value.grad is not None
    assert not query.grad[sum(TARGET_LENGTHS) :].any()
    assert not key_value.grad[sum(SOURCE_LENGTHS) :].any()


def test_the_matrix_has_the_attention_rows() -> None:
    _, target = layouts()
    numbers = torch.arange(12.0)[:, None]
    # sentences 0 and 1 fill the first attention row, 2 and 3 stand in the second; the last row stands for no token
    expected = [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 11, 11], [11] * 6]
    assert target.to_matrix(numbers)[..., 0].tolist() == expected
    assert target.to_rows(target.to_matrix(numbers))[:10, 0].tolist() == list(range(10))


def test_the_batch_has_the_rows_as_they_are() -> None:
    _, target = layouts()
    tokens = batch().targets
    assert torch.equal(target.from_batch(tokens), tokens[0])
    assert torch.equal(target.to_batch(tokens[0]), tokens)


def test_vectors_of_columns_are_repeated() -> None:
    _, target = layouts()
    vectors = torch.arange(float(target.num_columns))[:, None]
    assert target.repeat(vectors)[:10, 0].tolist() == [0, 0, 1, 2, 3, 4, 0, 1, 0, 1]


def test_by_position_it_is_the_layout_of_a_padded_batch() -> None:
    layout = layouts()[1].by_position()
    expected = [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 11, 11], [11] * 6]
    assert layout.num_rows == 12
    assert layout.row_numbers().tolist() == expected


def test_a_bias_is_made_once() -> None:
    source, target = layouts()
    kinds = [(source, source, False), (target, target, True), (target, source, False)]
    first = [packed_bias(q, k, is_causal=causal, dtype=torch.float32) for q, k, causal in kinds]
    again = [packed_bias(q, k, is_causal=causal, dtype=torch.float32) for q, k, causal in kinds]
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert [tuple(bias.shape) for bias in first] == [(3, 1, 7, 7), (3, 1, 6, 6), (3, 1, 6, 7)]
    assert all((bias > float("-inf")).any(dim=-1).all() for bias in first)
