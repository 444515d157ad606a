"""Scaled dot-product attention: one function, several ways to compute it.

Shapes: B sequences, H heads, T queries, S keys, d features of a head.

The CPU trains with plain matrix products: their backward is faster than that of torch's fused kernel (in bf16, eight
times), and short sequences leave it nothing to save. Everything else runs the fused kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.nn.dropout import dropout as apply_dropout

__all__ = ["attend", "matmul_attention", "padding_bias", "sdpa_attention"]


def padding_bias(lengths: Tensor, max_length: int, dtype: torch.dtype) -> Tensor | None:
    """What to add to attention scores so that no query sees padding: 0 on real keys and -inf on padding.

    Args:
        lengths: (B,) int64, real keys of each sequence.
        max_length: Keys with padding, S.
        dtype: Of the scores.

    Returns:
        (B, 1, 1, S), or None where nothing is padded. A GPU is not asked whether anything is: that would make the host
        wait.
    """
    if lengths.device.type == "cpu" and int(lengths.min()) == max_length:
        return None
    is_padding = torch.arange(max_length, device=lengths.device) >= lengths[:, None]  # (B, S)
    bias = torch.zeros(is_padding.shape, dtype=dtype, device=lengths.device)
    return bias.masked_fill_(is_padding, float("-inf"))[:, None, None]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """softmax(q k' / sqrt(d) + bias) v, by the backend that is fastest for the device and mode.

    Args:
        query: (B, H, T, d).
        key: (B, H, S, d).
        value: (B, H, S, d).
        bias: Broadcast to (B, H, T, S); not together with is_causal.
        is_causal: Query t sees the keys 0 ... t; T = S.
        dropout: Its probability on the attention weights.

    Returns:
        (B, H, T, d).
    """
    trains = torch.is_grad_enabled() and query.requires_grad
    backend = matmul_attention if trains and query.device.type == "cpu" else sdpa_attention
    return backend(query, key, value, bias=bias, is_causal=is_causal, dropout=dropout)


def sdpa_attention(
    query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, is_causal: bool, dropout: float
) -> Tensor:
    """See `attend`: torch's fused kernels."""
    if bias is not None:
        bias = bias.to(query.dtype)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, is_causal=is_causal, dropout_p=dropout
    )


def matmul_attention(
    query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, is_causal: bool, dropout: float
) -> Tensor:
    """See `attend`: batched matrix products, with the bias and the scale inside the first of them."""
    batch, heads, length, dim = query.shape
    num_keys = key.shape[2]
    if is_causal:
        ones = torch.full((length, num_keys), float("-inf"), dtype=query.dtype, device=query.device)
        bias = ones.triu_(1)[None]  # (1, T, S)
    elif bias is not None:
        bias = bias.expand(batch, heads, -1, num_keys).reshape(batch * heads, -1, num_keys)  # (B*H, 1 or T, S)
    else:
        bias = query.new_zeros(())
    query, key, value = (tensor.reshape(batch * heads, -1, dim) for tensor in (query, key, value))
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=dim**-0.5)  # (B*H, T, S)
    weights = apply_dropout(scores.softmax(dim=-1), dropout, True)
    return torch.bmm(weights, value).view(batch, heads, length, dim)
