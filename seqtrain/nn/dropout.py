"""Dropout."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["dropout"]


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Zero each element with this probability while training, and scale the others up (Srivastava et al., 2014)."""
    if not training or probability == 0.0:
        return x
    return functional.dropout(x, probability)
