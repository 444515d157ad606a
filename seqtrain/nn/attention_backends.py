"""Scaled dot-product attention: one function, two ways to compute it.

Shapes: B sequences, T queries, S keys, H heads, d features of a head, D = H * d; R rows (see `Layout`).

The CPU trains with plain matrix products: their backward is faster than that of torch's fused kernel (in bfloat16 eight
times), and short sequences leave that nothing to save. Everything else runs the fused kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seqtrain.nn.dropout import dropout_mask
from seqtrain.nn.layout import Layout

__all__ = ["AttentionShape", "attend_rows", "fused_attention", "matmul_attention", "padding_bias", "split_heads"]


@dataclass(frozen=True)
class AttentionShape:
    """What attention must know of its inputs besides their values.

    Attributes:
        num_heads: H.
        queries: The layout of the queries.
        keys: The layout of the keys and values.
        is_causal: Query t sees the keys 0 ... t; T = S.
        dropout: Its probability on the attention weights.
    """

    num_heads: int
    queries: Layout
    keys: Layout
    is_causal: bool = False
    dropout: float = 0.0


def padding_bias(lengths: Tensor, max_length: int) -> Tensor | None:
    """What to add to attention scores so that no query sees padding: 0 on real keys and -inf on padding.

    Args:
        lengths: (B,) int64, real keys of each sequence.
        max_length: Keys with padding, S.

    Returns:
        (B, 1, 1, S) float32, or None where nothing is padded. A GPU is not asked whether anything is: that would make
        the host wait.
    """
    if lengths.device.type == "cpu" and int(lengths.min()) == max_length:
        return None
    is_padding = torch.arange(max_length, device=lengths.device) >= lengths[:, None]  # (B, S)
    bias = torch.zeros(is_padding.shape, device=lengths.device)
    return bias.masked_fill_(is_padding, float("-inf"))[:, None, None]


def split_heads(rows: Tensor, layout: Layout, num_heads: int, num_blocks: int) -> tuple[Tensor, ...]:
    """Part the result of one wide projection: (R, num_blocks * D) -> num_blocks views (B, H, T, d)."""
    dim = rows.shape[1] // (num_blocks * num_heads)
    blocks = layout.to_matrix(rows).view(layout.batch_size, layout.length, num_blocks, num_heads, dim)
    return blocks.permute(2, 0, 3, 1, 4).unbind(0)


def attend_rows(query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape) -> Tensor:
    """softmax(q k' / sqrt(d) + bias) v, by the backend that is fastest for the device and mode.

    Args:
        query: (R, D), or for self-attention (R, 3 * D): queries, keys and values side by side.
        key_value: (R', 2 * D), keys and values side by side; None for self-attention.
        bias: Broadcast to (B, H, T, S); not together with is_causal.
        shape: How to read them.

    Returns:
        (R, D).
    """
    trains = torch.is_grad_enabled() and query.requires_grad
    backend = matmul_attention if trains and query.device.type == "cpu" else fused_attention
    return backend(query, key_value, bias, shape)


def fused_attention(query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape) -> Tensor:
    """See `attend_rows`: torch's fused kernels."""
    q, k, v = _split(query, key_value, shape)  # (B, H, T or S, d)
    if bias is not None:
        bias = bias.to(query.dtype)
    output = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, is_causal=shape.is_causal, dropout_p=shape.dropout
    )  # (B, H, T, d)
    return shape.queries.to_rows(output.transpose(1, 2).flatten(2))


def matmul_attention(query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape) -> Tensor:
    """See `attend_rows`: batched matrix products, with the bias and the scale inside the first of them."""
    with torch.autocast(query.device.type, enabled=False):
        output: Tensor = _MatmulAttention.apply(query, key_value, bias, shape)  # type: ignore[no-untyped-call]
    return output


def _split(query: Tensor, key_value: Tensor | None, shape: AttentionShape) -> tuple[Tensor, ...]:
    if key_value is None:
        return split_heads(query, shape.queries, shape.num_heads, 3)
    return (
        *split_heads(query, shape.queries, shape.num_heads, 1),
        *split_heads(key_value, shape.keys, shape.num_heads, 2),
    )


_FEWEST_KEYS = 16  # torch's softmax on the CPU takes ten times as long for rows that do not fill a vector register


class _MatmulAttention(torch.autograd.Function):
    """Attention on rows with a gradient written out, so that nothing is copied but what the products need in a row.

    Softmax and the small products run in float32 at least: in bfloat16 they would gain nothing, and each new length
    would cost the making of a kernel. Where there are few keys, zeros that are hidden by the bias stand behind them.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape
    ) -> Tensor:
        """See `attend_rows`."""
        dtype = torch.promote_types(query.dtype, torch.float32)
        q, k, v = _split(query, key_value, shape)
        num_keys = max(shape.keys.length, _FEWEST_KEYS)
        q, k, v = _pack(q, dtype), _pack(k, dtype, num_keys), _pack(v, dtype, num_keys)  # (B*H, T or S, d)
        scores = torch.baddbmm(
            _score_bias(bias, shape, num_keys).to(dtype), q, k.transpose(1, 2), beta=1.0, alpha=q.shape[2] ** -0.5
        )  # (B*H, T, S)
        weights = torch.softmax(scores, dim=-1, out=scores)
        mask = dropout_mask(weights, shape.dropout) if shape.dropout > 0 else None
        dropped = weights if mask is None else weights * mask
        ctx.save_for_backward(q, k, v, weights, mask)
        ctx.shape, ctx.formats = shape, (query.dtype, None if key_value is None else key_value.dtype)
        output = query.new_empty(shape.queries.num_rows, shape.num_heads * q.shape[2])
        _unpack(torch.bmm(dropped, v), output, shape.queries, shape.num_heads, (0, 1))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output_grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the rows, written side by side."""
        q, k, v, weights, mask = ctx.saved_tensors
        shape: AttentionShape = ctx.shape
        scale = q.shape[2] ** -0.5
        with torch.autocast(output_grad.device.type, enabled=False):
            grad = _pack(split_heads(output_grad, shape.queries, shape.num_heads, 1)[0], q.dtype)
            value_grad = torch.bmm((weights if mask is None else weights * mask).transpose(1, 2), grad)
            weights_grad = torch.bmm(grad, v.transpose(1, 2))
            if mask is not None:
                weights_grad.mul_(mask)
            scores_grad = torch.ops.aten._softmax_backward_data(weights_grad, weights, -1, weights.dtype).mul_(scale)
            query_grad = torch.bmm(scores_grad, k)
            key_grad = torch.bmm(scores_grad.transpose(1, 2), q)
        return (*_join((query_grad, key_grad, value_grad), shape, ctx.formats), None, None)


def _score_bias(bias: Tensor | None, shape: AttentionShape, num_keys: int) -> Tensor:
    """The bias as the products take it: broadcast to (B*H, T, num_keys), -inf on the keys beyond S."""
    if shape.is_causal:
        return torch.full((shape.queries.length, num_keys), float("-inf")).triu_(1)[None]
    if bias is None:
        bias = torch.zeros(1, 1, 1, shape.keys.length)
    bias = functional.pad(bias, (0, num_keys - shape.keys.length), value=float("-inf"))
    return bias.expand(-1, shape.num_heads, -1, -1).flatten(0, 1) if len(bias) > 1 else bias[0]


def _pack(heads: Tensor, dtype: torch.dtype, length: int = 0) -> Tensor:
    """(B, H, T, d), strided -> (B*H, T, d), dense, with zeros up to a length."""
    batch, num_heads, given, dim = heads.shape
    if given >= length:
        return heads.to(dtype, memory_format=torch.contiguous_format).contiguous().flatten(0, 1)
    packed = heads.new_zeros(batch, num_heads, length, dim, dtype=dtype)
    packed[:, :, :given] = heads
    return packed.flatten(0, 1)


def _unpack(packed: Tensor, rows: Tensor, layout: Layout, num_heads: int, block: tuple[int, int]) -> None:
    """Write (B*H, T, d) into block number `block[0]` of `block[1]` of the rows (R, block[1] * D)."""
    number, num_blocks = block
    target = split_heads(rows, layout, num_heads, num_blocks)[number]
    target.copy_(packed.view(*target.shape[:2], *packed.shape[1:])[:, :, : layout.length])
    rows[layout.num_tokens :] = 0.0


def _join(
    gradients: tuple[Tensor, Tensor, Tensor], shape: AttentionShape, formats: tuple[torch.dtype, torch.dtype | None]
) -> tuple[Tensor, Tensor | None]:
    """Write the gradients (B*H, T or S, d) of queries, keys and values side by side, as the inputs were."""
    query_format, key_value_format = formats
    width = shape.num_heads * gradients[0].shape[2]
    if key_value_format is None:
        rows = gradients[0].new_empty(shape.queries.num_rows, 3 * width, dtype=query_format)
        for number, gradient in enumerate(gradients):
            _unpack(gradient, rows, shape.queries, shape.num_heads, (number, 3))
        return rows, None
    query_rows = gradients[0].new_empty(shape.queries.num_rows, width, dtype=query_format)
    memory_rows = gradients[0].new_empty(shape.keys.num_rows, 2 * width, dtype=key_value_format)
    _unpack(gradients[0], query_rows, shape.queries, shape.num_heads, (0, 1))
    for number, gradient in enumerate(gradients[1:]):
        _unpack(gradient, memory_rows, shape.keys, shape.num_heads, (number, 2))
    return query_rows, memory_rows
