"""Positions of tokens, as vectors that are added to their embeddings.

Shapes: T columns, D features. Padding stands on the right, so a token's position is its column; as in fairseq the first
column is number padding_index + 1 of the table (2, with fairseq's vocabularies).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LearnedPositions", "SinusoidalPositions", "sinusoidal_table"]


def sinusoidal_table(num_positions: int, embed_dim: int, padding_index: int) -> Tensor:
    """Sines and cosines of geometrically spaced wavelengths (Vaswani et al., 2017).

    Row p is [sin(p f_0) ... sin(p f_{h-1}), cos(p f_0) ... cos(p f_{h-1})] with f_i = 10000 ** (-i / (h - 1)) and
    h = D // 2: the halves are concatenated, not interleaved, as in tensor2tensor and fairseq. An odd D has a last
    column of zeros; the padding row is zero.

    Returns:
        (num_positions, D) float32.
    """
    half = embed_dim // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000) / max(half - 1, 1)))
    angles = torch.arange(num_positions, dtype=torch.float32)[:, None] * frequencies  # (P, h)
    table = torch.zeros(num_positions, embed_dim)
    table[:, :half] = angles.sin()
    table[:, half : 2 * half] = angles.cos()
    table[padding_index] = 0.0
    return table


class SinusoidalPositions(nn.Module):
    """Fixed positions; the table grows when a longer sequence comes."""

    table: Tensor

    def __init__(self, max_positions: int, embed_dim: int, padding_index: int) -> None:
        super().__init__()
        self.padding_index = padding_index
        self.offset = padding_index + 1
        table = sinusoidal_table(max_positions + self.offset, embed_dim, padding_index)
        self.register_buffer("table", table, persistent=False)

    def forward(self, start: int, length: int) -> Tensor:
        """The vectors of the columns start ... start + length - 1: (length, D)."""
        end = self.offset + start + length
        if end > len(self.table):
            grown = sinusoidal_table(2 * end, self.table.shape[1], self.padding_index)
            self.table = grown.to(self.table)
        return self.table[end - length : end]


class LearnedPositions(nn.Module):
    """Trained positions: a table that ends, and an error beyond its end.

    The rows up to padding_index are never used; they keep the table interchangeable with fairseq's.
    """

    def __init__(self, max_positions: int, embed_dim: int, padding_index: int) -> None:
        super().__init__()
        self.max_positions = max_positions
        self.offset = padding_index + 1
        self.weight = nn.Parameter(torch.empty(max_positions + self.offset, embed_dim))
        with torch.no_grad():
            nn.init.normal_(self.weight, mean=0.0, std=embed_dim**-0.5)
            self.weight[padding_index] = 0.0

    def forward(self, start: int, length: int) -> Tensor:
        """The vectors of the columns start ... start + length - 1: (length, D).

        Raises:
            DataError: The sequence is longer than the table.
        """
        if start + length > self.max_positions:
            from seqtrain.errors import DataError

            raise DataError(
                f"a sequence of {start + length} tokens is longer than the {self.max_positions} positions that the "
                "model has learned",
                remedy="shorten it, or train with a larger model.max_target_positions or model.max_source_positions",
            )
        return self.weight[self.offset + start : self.offset + start + length]
