"""Flash attention over sequences of any length that stand one after the other (torch.nn.attention.varlen).

Shapes: R rows, H heads, d features of a head, D = H * d.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqtrain.nn.attention_shape import AttentionShape
from seqtrain.nn.packed_layout import PackedLayout

__all__ = ["load_varlen", "varlen_attention", "why_no_varlen"]

_MAX_HEAD_DIM = 256
_HEAD_DIM_MULTIPLE = 8
_FIRST_CAPABILITY = (8, 0)  # Ampere
_WINDOWS = {False: (-1, -1), True: (-1, 0)}  # keys before and behind a query that it sees; -1 for all, as of torch 2.11


def load_varlen() -> None:
    """Import the kernel, which takes seconds; before torch.compile, which cannot trace it."""
    import torch.nn.attention.varlen  # noqa: F401


def varlen_attention(query: Tensor, key_value: Tensor | None, shape: AttentionShape) -> Tensor:
    """See `attend_rows`; both layouts are packed, and nothing is dropped out.

    Each segment of rows attends to the segment of the same number: rows that stand for no token among themselves.
    """
    from torch.nn.attention.varlen import varlen_attn

    assert isinstance(shape.queries, PackedLayout), "there are bounds"
    assert isinstance(shape.keys, PackedLayout), "there are bounds"
    assert shape.dropout == 0.0, "the kernel drops nothing out"
    queries, keys = shape.queries.tokens, shape.keys.tokens
    if key_value is None:
        q, k, v = query.view(len(query), 3, shape.num_heads, -1).unbind(1)  # (R, H, d)
    else:
        q = query.view(len(query), shape.num_heads, -1)
        k, v = key_value.view(len(key_value), 2, shape.num_heads, -1).unbind(1)
    output = varlen_attn(
        q,
        k,
        v,
        queries.bounds,
        keys.bounds,
        queries.num_columns,
        keys.num_columns,
        window_size=_WINDOWS[shape.is_causal],
    )
    assert isinstance(output, Tensor), "the log-sum-exp was not asked for"
    return output.flatten(1)  # (R, H, d) -> (R, D)


def why_no_varlen(device: torch.device, dtype: torch.dtype, head_dim: int, dropout: float) -> str | None:
    """What stands against the kernel, in words; None where it can be used.

    Args:
        device: Where attention is computed.
        dtype: The number format of the matrix products.
        head_dim: d.
        dropout: The probability of attention dropout.
    """
    if device.type != "cuda":
        return "it needs a GPU"
    if torch.cuda.get_device_capability(device) < _FIRST_CAPABILITY:
        return "it needs a GPU from Ampere on"
    if dtype not in (torch.bfloat16, torch.float16):
        return "it needs training.precision=bf16 or fp16"
    if dropout > 0.0:
        return f"it has no attention dropout, and model.attention_dropout is {dropout}"
    if head_dim > _MAX_HEAD_DIM or head_dim % _HEAD_DIM_MULTIPLE:
        return f"a head must have a multiple of {_HEAD_DIM_MULTIPLE} features, at most {_MAX_HEAD_DIM}, not {head_dim}"
    return None
