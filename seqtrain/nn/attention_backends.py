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
from seqtrain.nn.head_index import HeadIndex, head_index
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
        output: Tensor = _MatmulAttention.apply(query, key_value, bias, shape)  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
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
    would cost the making of a kernel. Where there are few keys, others that the bias hides stand behind them.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape
    ) -> Tensor:
        """See `attend_rows`."""
        dtype = torch.promote_types(query.dtype, torch.float32)
        indices = _Indices.of(shape, is_self=key_value is None)
        packed = indices.query.pack(query, dtype)
        q, k, v = (
            packed if key_value is None else (*packed, *indices.key_value.pack(key_value, dtype))
        )  # (B*H, T or S, d)
        scores = torch.baddbmm(
            _score_bias(bias, shape, k.shape[1]).to(dtype), q, k.transpose(1, 2), alpha=q.shape[2] ** -0.5
        )  # (B*H, T, S)
        weights = torch.softmax(scores, dim=-1, out=scores)
        mask = dropout_mask(weights, shape.dropout) if shape.dropout > 0 else None
        output, memory = indices.output.empty(q.shape[2], dtype)
        torch.bmm(weights if mask is None else weights * mask, v, out=output)
        ctx.save_for_backward(q, k, v, weights, mask)
        ctx.indices, ctx.formats = indices, (query.dtype, None if key_value is None else key_value.dtype)
        return indices.output.unpack(memory, query.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output_grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the rows, blocks side by side."""
        q, k, v, weights, mask = ctx.saved_tensors
        indices: _Indices = ctx.indices
        query_format, key_value_format = ctx.formats
        dim, dtype = q.shape[2], q.dtype
        with torch.autocast(output_grad.device.type, enabled=False):
            *gradients, memory = indices.query.empty(dim, dtype)
            key_value_memory = memory
            if key_value_format is not None:
                *key_value_gradients, key_value_memory = indices.key_value.empty(dim, dtype)
                gradients.extend(key_value_gradients)
            query_grad, key_grad, value_grad = gradients
            (grad,) = indices.output.pack(output_grad, dtype)
            torch.bmm((weights if mask is None else weights * mask).transpose(1, 2), grad, out=value_grad)
            weights_grad = torch.bmm(grad, v.transpose(1, 2))
            if mask is not None:
                weights_grad.mul_(mask)
            scores_grad = torch.ops.aten._softmax_backward_data(weights_grad, weights, -1, dtype).mul_(dim**-0.5)
            torch.bmm(scores_grad, k, out=query_grad)
            torch.bmm(scores_grad.transpose(1, 2), q, out=key_grad)
        rows_grad = indices.query.unpack(memory, query_format)
        if key_value_format is None:
            return rows_grad, None, None, None
        return rows_grad, indices.key_value.unpack(key_value_memory, key_value_format), None, None


@dataclass(frozen=True)
class _Indices:
    """How the inputs and the output of attention move between rows and heads.

    Attributes:
        query: Of the queries, or of queries, keys and values.
        key_value: Of keys and values, where they are rows of their own.
        output: Of the output.
    """

    query: HeadIndex
    key_value: HeadIndex
    output: HeadIndex

    @classmethod
    def of(cls, shape: AttentionShape, *, is_self: bool) -> _Indices:
        """Those of a self-attention or a cross-attention."""
        heads, length = shape.num_heads, shape.queries.length
        num_keys = max(shape.keys.length, _FEWEST_KEYS)
        output = head_index(shape.queries, heads, length)
        if is_self:
            whole = head_index(shape.queries, heads, length, num_keys, num_keys)
            return cls(whole, whole, output)
        return cls(output, head_index(shape.keys, heads, num_keys, num_keys), output)


def _score_bias(bias: Tensor | None, shape: AttentionShape, num_keys: int) -> Tensor:
    """The bias as the products take it: broadcast to (B*H, T, num_keys), -inf on the keys beyond S."""
    if shape.is_causal:
        return torch.full((shape.queries.length, num_keys), float("-inf")).triu_(1)[None]
    if bias is None:
        bias = torch.zeros(1, 1, 1, shape.keys.length)
    bias = functional.pad(bias, (0, num_keys - shape.keys.length), value=float("-inf"))
    return bias.expand(-1, shape.num_heads, -1, -1).flatten(0, 1) if len(bias) > 1 else bias[0]
