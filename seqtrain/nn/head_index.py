"""Moving attention's queries, keys and values between rows and heads, in one gather each way.

Shapes: B sequences, T tokens, R rows (see `Layout`), H heads, D features, d = D / H features of a head. A *piece* is
the d features of one head of one token; rows hold blocks of H pieces: queries, keys and values side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqtrain.nn.layout import Layout

__all__ = ["HeadIndex", "head_index"]


@dataclass(frozen=True)
class HeadIndex:
    """Where each piece goes.

    Attributes:
        sizes: Of each block: sequences B, heads H and tokens with padding.
        gather: For each packed piece, block after block and each (B, H, T), its number among the rows' pieces.
        scatter: For each of the rows' pieces, (R, blocks, H), its number among the packed ones; the number behind the
            last one for a row that stands for no token.
    """

    sizes: tuple[tuple[int, int, int], ...]
    gather: Tensor
    scatter: Tensor

    def empty(self, dim: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Blocks (B*H, T, d) to be written, and at last the memory behind them, (pieces + 1, d), ending with zeros."""
        memory = torch.empty(len(self.gather) + 1, dim, dtype=dtype)
        memory[-1] = 0.0
        return (*self._split(memory[:-1]), memory)

    def pack(self, rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Rows (R, blocks * D) -> blocks, each (B*H, T, d)."""
        _, heads, _ = self.sizes[0]
        pieces = rows.view(-1, rows.shape[1] // (len(self.sizes) * heads))
        return self._split(pieces.index_select(0, self.gather).to(dtype))

    def unpack(self, memory: Tensor, dtype: torch.dtype) -> Tensor:
        """What was written into the memory of `empty` -> rows (R, blocks * D)."""
        _, heads, _ = self.sizes[0]
        return memory.to(dtype).index_select(0, self.scatter).view(-1, len(self.sizes) * heads * memory.shape[1])

    def _split(self, pieces: Tensor) -> tuple[Tensor, ...]:
        counts = [batch * heads * length for batch, heads, length in self.sizes]
        return tuple(
            block.view(batch * heads, length, pieces.shape[1])
            for block, (batch, heads, length) in zip(pieces.split_with_sizes(counts), self.sizes, strict=True)
        )


def head_index(layout: Layout, num_heads: int, *lengths: int) -> HeadIndex:
    """The index of blocks whose sequences have these lengths, T or more; made once for all layers of a batch."""
    key = (num_heads, *lengths)
    if key not in layout.memory:
        layout.memory[key] = _make_index(layout, num_heads, lengths)
    index: HeadIndex = layout.memory[key]
    return index


def _make_index(layout: Layout, num_heads: int, lengths: tuple[int, ...]) -> HeadIndex:
    num_blocks, heads = len(lengths), torch.arange(num_heads)
    gathers, scatters, offset = [], [], 0
    real = layout.num_rows if layout.positions is None else len(layout.positions)
    positions = torch.arange(real) if layout.positions is None else layout.positions
    sequences, columns = positions // layout.length, positions % layout.length  # (N,)
    for number, length in enumerate(lengths):
        rows = layout.row_numbers(length)  # (B, length)
        gathers.append(((rows * num_blocks + number)[:, None, :] * num_heads + heads[:, None]).flatten())
        scatters.append(offset + (sequences[:, None] * num_heads + heads) * length + columns[:, None])  # (N, H)
        offset += layout.batch_size * num_heads * length
    scatter = torch.full((layout.num_rows, num_blocks, num_heads), offset)
    scatter[:real] = torch.stack(scatters, dim=1)
    sizes = tuple((layout.batch_size, num_heads, length) for length in lengths)
    return HeadIndex(sizes, torch.cat(gathers), scatter.flatten())
