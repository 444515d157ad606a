"""The backends against the formula, in float64, and against each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from seqtrain.nn import matmul_attention as matmul_attention_module
from seqtrain.nn.attention_backends import (
    AttentionShape,
    aligned,
    attend_rows,
    fused_attention,
    matmul_attention,
    padding_bias,
    split_heads,
)
from seqtrain.nn.layout import Layout

NUM_HEADS, DIM = 2, 3
WIDTH = NUM_HEADS * DIM
BACKENDS = [fused_attention, matmul_attention]
LENGTHS = torch.tensor([4, 2, 3])


def layouts(length: int) -> dict[str, Layout]:
    """Three sequences of the greatest length that is given, 4 or more, and of lengths 4, 2 and 3."""
    return {
        "dense": Layout(3, length, 3 * length),
        "packed": Layout.packed(torch.arange(length) < LENGTHS[:, None]),
    }


def rows(layout: Layout, num_blocks: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(layout.num_rows, num_blocks * WIDTH, generator=generator, dtype=torch.float64)
    return values.requires_grad_()


def by_formula(heads: tuple[Tensor, ...], hidden: Tensor) -> Tensor:
    """The softmax of q k' / √d over the keys that are not hidden (B, 1, T, S), times v; one row of output a query."""
    query, key, value = heads
    scores = (query @ key.mT / DIM**0.5).masked_fill(hidden, float("-inf"))
    output: Tensor = scores.softmax(dim=-1) @ value
    return output.transpose(1, 2).flatten(2)  # (B, T, D)


def assert_equal_with_gradients(output: Tensor, expected: Tensor, inputs: list[Tensor], layout: Layout) -> None:
    """Equal at the first two queries of each sequence, which none of the layouts counts as padding."""
    actual, expected = layout.to_matrix(output)[:, :2], expected[:, :2]
    assert_close(actual, expected)
    weights = torch.randn(expected.shape, dtype=expected.dtype, generator=torch.Generator().manual_seed(9))
    gradients = torch.autograd.grad((actual * weights).sum(), inputs, retain_graph=True)
    assert_close(gradients, torch.autograd.grad((expected * weights).sum(), inputs))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["dense", "packed"])
@pytest.mark.parametrize("length", [5, 20])  # fewer and more keys than a vector register holds
def test_causal_self_attention(backend: Any, kind: str, length: int) -> None:
    layout = layouts(length)[kind]
    wide = rows(layout, 3, seed=1)
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    output = backend(wide, None, None, AttentionShape(NUM_HEADS, layout, layout, is_causal=True))
    expected = by_formula(split_heads(wide, layout, NUM_HEADS, 3), hidden)
    assert_equal_with_gradients(output, expected, [wide], layout)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["dense", "packed"])
@pytest.mark.parametrize("length", [4, 20])
def test_padded_self_attention(backend: Any, kind: str, length: int) -> None:
    layout = layouts(length)[kind]
    wide = rows(layout, 3, seed=1)
    hidden = (torch.arange(length) >= LENGTHS[:, None])[:, None, None]
    output = backend(wide, None, padding_bias(LENGTHS, length), AttentionShape(NUM_HEADS, layout, layout))
    expected = by_formula(split_heads(wide, layout, NUM_HEADS, 3), hidden)
    assert_equal_with_gradients(output, expected, [wide], layout)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["dense", "packed"])
def test_cross_attention(backend: Any, kind: str) -> None:
    queries, keys = layouts(5)[kind], layouts(4)[kind]
    query, key_value = rows(queries, 1, seed=1), rows(keys, 2, seed=2)
    hidden = (torch.arange(4) >= LENGTHS[:, None])[:, None, None]
    output = backend(query, key_value, padding_bias(LENGTHS, 4), AttentionShape(NUM_HEADS, queries, keys))
    heads = (*split_heads(query, queries, NUM_HEADS, 1), *split_heads(key_value, keys, NUM_HEADS, 2))
    assert_equal_with_gradients(output, by_formula(heads, hidden), [query, key_value], queries)


def test_gradients_pass_gradcheck() -> None:
    layout = layouts(4)["packed"]
    shape = AttentionShape(NUM_HEADS, layout, layout, is_causal=True)

    def attend(wide: Tensor) -> Tensor:
        return layout.to_matrix(matmul_attention(wide, None, None, shape))[:, :2]

    assert torch.autograd.gradcheck(attend, (rows(layout, 3, seed=1),))


def test_rows_that_stand_for_no_token_get_zeros_and_no_gradient() -> None:
    layout = layouts(4)["packed"]
    wide = rows(layout, 3, seed=1)
    output = matmul_attention(wide, None, padding_bias(LENGTHS, 4), AttentionShape(NUM_HEADS, layout, layout))
    assert output[9:].count_nonzero() == 0
    (gradient,) = torch.autograd.grad(output.square().sum(), wide)
    assert gradient[9:].count_nonzero() == 0


def test_dropout_on_weights_keeps_the_mean_and_scales_its_gradient() -> None:
    """With values of one, a query's output is the sum of its dropped weights."""
    layout = Layout(1, 400, 400)
    wide = torch.zeros(400, 3 * WIDTH, dtype=torch.float64)
    wide[:, 2 * WIDTH :] = 1.0
    wide.requires_grad_()
    torch.manual_seed(1)
    output = matmul_attention(wide, None, None, AttentionShape(NUM_HEADS, layout, layout, dropout=0.5))
    assert output.std() > 0
    assert output.mean().item() == pytest.approx(1.0, abs=0.02)
    (gradient,) = torch.autograd.grad(output.sum(), wide)
    assert gradient[:, 2 * WIDTH :].sum().item() == pytest.approx(output.sum().item())


def test_bfloat16_rows_have_bfloat16_gradients() -> None:
    layout = Layout(2, 3, 6)
    exact = rows(layout, 3, seed=1)
    rounded = exact.detach().bfloat16().requires_grad_()
    shape = AttentionShape(NUM_HEADS, layout, layout)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = matmul_attention(rounded, None, None, shape)
    assert output.dtype is torch.bfloat16
    (gradient,) = torch.autograd.grad(output.sum(), rounded)
    assert gradient.dtype is torch.bfloat16
    assert_close(output.double(), matmul_attention(exact, None, None, shape), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("multiplies", [False, True])
def test_bfloat16_gradients_follow_the_exact_ones(multiplies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul_attention_module, "multiplies_fast", lambda dtype: multiplies and dtype.itemsize == 2)
    layouts_by_kind = layouts(4)
    queries, keys = layouts_by_kind["dense"], layouts_by_kind["packed"]
    shape = AttentionShape(NUM_HEADS, queries, keys)
    bias = padding_bias(LENGTHS, 4)
    exact = [rows(queries, 1, seed=1), rows(keys, 2, seed=2)]
    rounded = [x.detach().bfloat16().requires_grad_() for x in exact]
    results = []
    for inputs in (exact, rounded):
        output = matmul_attention(inputs[0], inputs[1], bias, shape)
        results.append([output, *torch.autograd.grad(output.square().sum(), inputs)])
    assert all(actual.dtype is torch.bfloat16 for actual in results[1])
    assert_close([actual.double() for actual in results[1]], results[0], rtol=0.05, atol=0.05)


def test_only_a_cpu_that_trains_multiplies_matrices() -> None:
    layout = Layout(2, 3, 6)
    wide = rows(layout, 3, seed=1)
    shape = AttentionShape(NUM_HEADS, layout, layout)
    assert "Matmul" in type(attend_rows(wide, None, None, shape).grad_fn).__name__
    with torch.no_grad():
        assert_close(attend_rows(wide, None, None, shape), matmul_attention(wide, None, None, shape))


def test_bias_hides_padding() -> None:
    bias = padding_bias(torch.tensor([3, 1]), 3)
    assert bias is not None
    assert bias.tolist() == [[[[0.0, 0.0, 0.0]]], [[[0.0, float("-inf"), float("-inf")]]]]


def test_where_nothing_is_padded_there_is_no_bias() -> None:
    assert padding_bias(torch.tensor([3, 3]), 3) is None


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16])
def test_an_aligned_bias_is_the_same_with_rows_at_multiples_of_8(length: int) -> None:
    bias = torch.randn(3, 1, 1, length)
    result = aligned(bias)
    assert torch.equal(result, bias)
    assert result.stride(0) % 8 == 0


def test_whether_a_bias_is_aligned_is_no_question_for_a_graph() -> None:
    """The question is torch's own before it calls the kernel of a GPU."""
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: list[Any]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    def scores(bias: Tensor, ready: bool) -> Tensor:
        bias = aligned(bias) if ready else bias
        return bias + 1.0 if bias.stride(0) % 8 == 0 else functional.pad(bias, (0, 1))

    for ready in (True, False):
        graphs.clear()
        compiled = torch.compile(scores, backend=backend, fullgraph=True)
        for length in (7, 16, 9, 8, 11):
            bias = torch.zeros(3, 1, 1, length)
            torch._dynamo.mark_dynamic(bias, 3)
            compiled(bias, ready)
        assert (len(graphs) == 1) is ready
