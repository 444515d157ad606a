"""Attention as plain matrix products, for training on the CPU.

Their backward is faster there than that of torch's fused kernel (in bfloat16 eight times), and short sequences leave
that nothing to save.

Shapes: B sequences, T queries, S keys, H heads, d features of a head, D = H * d; R rows (see `Layout`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seqtrain.nn.attention_shape import AttentionShape
from seqtrain.nn.dropout import dropout_mask
from seqtrain.nn.head_index import HeadIndex, head_index
from seqtrain.nn.products import multiplies_fast

__all__ = ["matmul_attention"]

_FEWEST_KEYS = 16  # torch's softmax on the CPU takes ten times as long for rows that do not fill a vector register


def matmul_attention(query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape) -> Tensor:
    """See `attend_rows`, batched matrix products, with the bias and the scale inside the first of them."""
    with torch.autocast(query.device.type, enabled=False):
        output: Tensor = _MatmulAttention.apply(query, key_value, bias, shape)  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
    return output


class _MatmulAttention(torch.autograd.Function):
    """Attention on rows with a gradient written out, so that nothing is copied but what the products need in a row.

    The products run in bfloat16 where the processor multiplies it, and else in float32 at least; so does softmax
    everywhere. Where there are few keys, others that the bias hides stand behind them.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape
    ) -> Tensor:
        """See `attend_rows`."""
        dtype = query.dtype if multiplies_fast(query.dtype) else torch.promote_types(query.dtype, torch.float32)
        indices = _Indices.of(shape, is_self=key_value is None)
        packed = indices.query.pack(query, dtype)
        q, k, v = (
            packed if key_value is None else (*packed, *indices.key_value.pack(key_value, dtype))
        )  # (B*H, T or S, d)
        exact = torch.promote_types(dtype, torch.float32)
        scores = torch.bmm(q, k.transpose(1, 2)).to(exact)  # (B*H, T, S)
        torch.add(_score_bias(bias, shape, k.shape[1]).to(exact), scores, alpha=q.shape[2] ** -0.5, out=scores)
        weights = torch.softmax(scores, dim=-1, out=scores)
        mask = dropout_mask(weights, shape.dropout) if shape.dropout > 0 else None
        output, memory = indices.output.empty(q.shape[2], dtype)
        torch.bmm((weights if mask is None else weights * mask).to(dtype), v, out=output)
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
            dropped = (weights if mask is None else weights * mask).to(dtype)
            torch.bmm(dropped.transpose(1, 2), grad, out=value_grad)
            weights_grad = torch.bmm(grad, v.transpose(1, 2)).to(weights.dtype)
            if mask is not None:
                weights_grad.mul_(mask)
            scores_grad = torch.ops.aten._softmax_backward_data(weights_grad, weights, -1, weights.dtype)
            scores_grad = scores_grad.mul_(dim**-0.5).to(dtype)
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
