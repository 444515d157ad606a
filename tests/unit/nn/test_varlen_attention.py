"""What flash attention over segments is told; the kernel itself needs a GPU, and stands here in plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqtrain.config.sections import AttentionBackend
from seqtrain.nn.attention_backends import AttentionShape, attend_rows
from seqtrain.nn.packed_layout import PackedLayout
from seqtrain.nn.varlen_attention import why_no_varlen
from tests.unit.nn.packed_rows import NUM_HEADS, assert_agrees, batch, layouts, rows


def attend_segments(
    q: Tensor, k: Tensor, v: Tensor, bounds: tuple[Tensor, Tensor], longest: tuple[int, int], *, is_causal: bool
) -> Tensor:
    """What torch's documentation says of `varlen_attn`: segment i of the queries over segment i of the keys."""
    output = torch.zeros_like(q)  # a segment without keys gives zeros
    for number in range(len(bounds[0]) - 1):
        (q_start, q_end), (k_start, k_end) = (side[number : number + 2].tolist() for side in bounds)
        assert q_end - q_start <= longest[0], "the kernel leaves out what is beyond"
        assert k_end - k_start <= longest[1], "the kernel leaves out what is beyond"
        if q_end > q_start and k_end > k_start:
            scores = torch.einsum("qhd,khd->hqk", q[q_start:q_end], k[k_start:k_end]) / q.shape[2] ** 0.5
            if is_causal:
                scores = scores + torch.full(scores.shape[1:], float("-inf"), dtype=scores.dtype).triu(1)
            output[q_start:q_end] = torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), v[k_start:k_end])
    return output


def with_window(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """As since torch 2.11."""
    assert window_size in {(-1, -1), (-1, 0)}
    bounds, longest = (cu_seq_q, cu_seq_k), (max_q, max_k)
    return attend_segments(query, key, value, bounds, longest, is_causal=window_size == (-1, 0))


@pytest.fixture
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.nn.attention.varlen

    monkeypatch.setattr(torch.nn.attention.varlen, "varlen_attn", with_window)


@pytest.mark.usefixtures("_kernel")
@pytest.mark.parametrize("is_causal", [False, True])
def test_self_attention_agrees_with_attention_rows(is_causal: bool) -> None:
    _, target = layouts()
    x = rows(target, 3, seed=1)
    outputs = [
        attend_rows(x, None, None, AttentionShape(NUM_HEADS, target, target, is_causal, backend=backend))
        for backend in (AttentionBackend.varlen, AttentionBackend.sdpa)
    ]
    assert_agrees(outputs[0], outputs[1][:10], [x])


@pytest.mark.usefixtures("_kernel")
def test_cross_attention_agrees_with_attention_rows() -> None:
    source, target = layouts()
    query, key_value = rows(target, 1, seed=1), rows(source, 2, seed=2)
    outputs = [
        attend_rows(query, key_value, None, AttentionShape(NUM_HEADS, target, source, backend=backend))
        for backend in (AttentionBackend.varlen, AttentionBackend.sdpa)
    ]
    assert_agrees(outputs[0], outputs[1][:10], [query, key_value])


def _layouts_on(device: torch.device) -> tuple[PackedLayout, PackedLayout]:
    moved = batch().to(device)
    assert moved.packed_sources is not None
    assert moved.packed_targets is not None
    return PackedLayout.of_tokens(moved.packed_sources), PackedLayout.of_tokens(moved.packed_targets)


def test_torch_has_the_operators_with_their_gradients() -> None:
    source, target = _layouts_on(torch.device("meta"))
    query = torch.randn(target.num_rows, 16, device="meta", dtype=torch.bfloat16, requires_grad=True)
    key_value = torch.randn(source.num_rows, 32, device="meta", dtype=torch.bfloat16, requires_grad=True)
    shape = AttentionShape(NUM_HEADS, target, source, backend=AttentionBackend.varlen)
    output = attend_rows(query, key_value, None, shape)
    output.sum().backward()
    assert output.shape == (target.num_rows, 16)
    assert key_value.grad is not None


def test_it_needs_a_gpu() -> None:
    assert why_no_varlen(torch.device("cpu"), torch.bfloat16, 64, 0.0) == "it needs a GPU"


@pytest.mark.gpu
def test_on_a_gpu_it_says_what_it_cannot() -> None:
    gpu = torch.device("cuda")
    assert why_no_varlen(gpu, torch.bfloat16, 64, 0.0) is None
    assert why_no_varlen(gpu, torch.float32, 64, 0.0) == "it needs training.precision=bf16 or fp16"
    assert "attention_dropout is 0.1" in str(why_no_varlen(gpu, torch.bfloat16, 64, 0.1))
    assert "not 12" in str(why_no_varlen(gpu, torch.bfloat16, 12, 0.0))


@pytest.mark.gpu
@pytest.mark.parametrize("is_causal", [False, True])
def test_on_a_gpu_it_agrees_with_attention_rows(is_causal: bool) -> None:
    source, target = _layouts_on(torch.device("cuda"))
    keys = target if is_causal else source
    results = []
    for backend in (AttentionBackend.varlen, AttentionBackend.sdpa):
        generator = torch.Generator(device="cuda").manual_seed(1)
        query, key_value = (
            torch.randn(layout.num_rows, blocks * 32, device="cuda", generator=generator).bfloat16().requires_grad_()
            for layout, blocks in ((target, 1), (keys, 2))
        )
        shape = AttentionShape(NUM_HEADS, target, keys, is_causal, backend=backend)
        output = attend_rows(query, key_value, None, shape)[:10]
        results.append((output, *torch.autograd.grad(output.sum(), (query, key_value))))
    for one, other in zip(*results, strict=True):
        assert torch.isfinite(one).all()
        assert_close(one, other, rtol=0.02, atol=0.02)
