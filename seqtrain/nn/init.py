"""Initial weights, as fairseq draws them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["embedding_table", "linear_without_bias", "xavier_blocks_"]


def embedding_table(num_embeddings: int, embed_dim: int, padding_index: int) -> nn.Embedding:
    """A table (V, D) drawn from N(0, 1/D), with a padding row of zeros that gets no gradient from look-ups."""
    table = nn.Embedding(num_embeddings, embed_dim, padding_idx=padding_index)
    with torch.no_grad():
        nn.init.normal_(table.weight, mean=0.0, std=embed_dim**-0.5)
        table.weight[padding_index] = 0.0
    return table


def linear_without_bias(in_features: int, out_features: int) -> nn.Linear:
    """A map between two widths, Xavier-uniform."""
    linear = nn.Linear(in_features, out_features, bias=False)
    nn.init.xavier_uniform_(linear.weight)
    return linear


@torch.no_grad()
def xavier_blocks_(weight: Tensor, num_blocks: int, gain: float = 1.0) -> None:
    """Fill a weight (num_blocks * D', D) that holds several projections, each by itself (Glorot & Bengio, 2010).

    A block is drawn from U(-a, a) with a = gain * sqrt(6 / (D + D')).
    """
    for block in weight.chunk(num_blocks):
        nn.init.xavier_uniform_(block, gain=gain)
