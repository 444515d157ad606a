"""Scaled dot-product attention: one function, several ways to compute it.

Shapes: B sequences, T queries, S keys, H heads, d features of a head, D = H * d; R rows (see `Layout`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.config.sections import AttentionBackend
from seqtrain.nn.attention_shape import AttentionShape, padding_bias, split_heads
from seqtrain.nn.compiled_functions import compiled_attention
from seqtrain.nn.matmul_attention import matmul_attention
from seqtrain.nn.own_kernels import uses_own_kernels
from seqtrain.nn.packed_layout import PackedLayout, packed_bias
from seqtrain.nn.varlen_attention import varlen_attention

__all__ = [
    "AttentionShape",
    "aligned",
    "attend_rows",
    "fused_attention",
    "matmul_attention",
    "padding_bias",
    "split_heads",
]

_ALIGNMENT = 8


def attend_rows(query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape) -> Tensor:
    """softmax(q k' / sqrt(d) + bias) v, by the backend that was chosen, or else that fits the device and mode.

    Args:
        query: (R, D), or for self-attention (R, 3 * D): queries, keys and values side by side.
        key_value: (R', 2 * D), keys and values side by side; None for self-attention.
        bias: Broadcast to (B, H, T, S); not together with is_causal. None for packed layouts, which say it themselves.
        shape: How to read them.

    Returns:
        (R, D).
    """
    trains = torch.is_grad_enabled() and query.requires_grad and uses_own_kernels(query.device)
    multiplies = trains and shape.backend in (AttentionBackend.auto, AttentionBackend.matmul)
    if trains and shape.backend is AttentionBackend.auto:
        compiled = compiled_attention(query, key_value, bias, shape)
        if compiled is not None:
            return compiled
    queries, keys = shape.queries, shape.keys
    if isinstance(queries, PackedLayout) and isinstance(keys, PackedLayout):
        if shape.backend is AttentionBackend.varlen:
            return varlen_attention(query, key_value, shape)
        bias = packed_bias(queries, keys, is_causal=shape.is_causal, dtype=query.dtype)
        shape = replace(shape, is_causal=False)
        if multiplies:
            shape = replace(shape, queries=queries.by_position(), keys=keys.by_position())
    return (matmul_attention if multiplies else fused_attention)(query, key_value, bias, shape)


def fused_attention(query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape) -> Tensor:
    """See `attend_rows`: torch's fused kernels."""
    q, k, v = _split(query, key_value, shape)  # (B, H, T or S, d)
    if bias is not None:
        bias = _as_kernels_want(bias, query, shape)
    output = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, is_causal=shape.is_causal, dropout_p=shape.dropout
    )  # (B, H, T, d)
    return shape.queries.to_rows(output.transpose(1, 2).flatten(2))


def _as_kernels_want(bias: Tensor, query: Tensor, shape: AttentionShape) -> Tensor:
    """The bias in the format of the queries; if it is one for all of them, aligned, and made once for all layers."""
    if bias.shape[2] > 1 or uses_own_kernels(query.device):
        return bias.to(query.dtype)
    key = ("aligned", query.dtype)
    kept = shape.keys.memory.get(key)
    if kept is None or kept[0] is not bias:
        kept = shape.keys.memory[key] = (bias, aligned(bias.to(query.dtype)))
    result: Tensor = kept[1]
    return result


def aligned(bias: Tensor) -> Tensor:
    """A bias (B, 1, 1, S) whose rows begin at multiples of so many numbers as the kernels of a GPU want.

    torch would see to that itself, after a look at S: torch.compile would make a graph for each of the two answers.
    """
    length = bias.shape[3]
    return functional.pad(bias, (0, _ALIGNMENT - length % _ALIGNMENT))[..., :length]


def _split(query: Tensor, key_value: Tensor | None, shape: AttentionShape) -> tuple[Tensor, ...]:
    if key_value is None:
        return split_heads(query, shape.queries, shape.num_heads, 3)
    return (
        *split_heads(query, shape.queries, shape.num_heads, 1),
        *split_heads(key_value, shape.keys, shape.num_heads, 2),
    )
