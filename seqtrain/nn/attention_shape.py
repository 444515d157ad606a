"""What the backends of attention share: the shape of a call, the bias that hides padding, the parting into heads.

Shapes: B sequences, T queries, S keys, H heads, d features of a head, D = H * d; R rows (see `Layout`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqtrain.config.sections import AttentionBackend
from seqtrain.nn.layout import Layout
from seqtrain.nn.own_kernels import uses_own_kernels

__all__ = ["AttentionShape", "AttentionSize", "padding_bias", "split_heads"]


@dataclass(frozen=True)
class AttentionShape:
    """What attention must know of its inputs besides their values.

    Attributes:
        num_heads: H.
        queries: The layout of the queries.
        keys: The layout of the keys and values.
        is_causal: Query t sees the keys 0 ... t; T = S.
        dropout: Its probability on the attention weights.
        backend: Which way to compute it was chosen.
    """

    num_heads: int
    queries: Layout
    keys: Layout
    is_causal: bool = False
    dropout: float = 0.0
    backend: AttentionBackend = AttentionBackend.auto


@dataclass(frozen=True)
class AttentionSize:
    """The sizes of an attention.

    Attributes:
        num_heads: H.
        head_dim: d.
        dropout: The probability of attention dropout.
    """

    num_heads: int
    head_dim: int
    dropout: float


def padding_bias(lengths: Tensor, max_length: int) -> Tensor | None:
    """What to add to attention scores so that no query sees padding: 0 on real keys and -inf on padding.

    Args:
        lengths: (B,) int64, real keys of each sequence.
        max_length: Keys with padding, S.

    Returns:
        (B, 1, 1, S) float32, or None where nothing is padded. A GPU is not asked whether anything is: that would make
        the host wait.
    """
    if uses_own_kernels(lengths.device) and int(lengths.min()) == max_length:
        return None
    is_padding = torch.arange(max_length, device=lengths.device) >= lengths[:, None]  # (B, S)
    bias = torch.zeros(is_padding.shape, device=lengths.device)
    return bias.masked_fill_(is_padding, float("-inf"))[:, None, None]


def split_heads(rows: Tensor, layout: Layout, num_heads: int, num_blocks: int) -> tuple[Tensor, ...]:
    """Part the result of one wide projection: (R, num_blocks * D) -> num_blocks views (B, H, T, d)."""
    dim = rows.shape[1] // (num_blocks * num_heads)
    blocks = layout.to_matrix(rows).view(layout.batch_size, layout.length, num_blocks, num_heads, dim)
    return blocks.permute(2, 0, 3, 1, 4).unbind(0)
