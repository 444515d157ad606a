"""How the tokens of a batch stand in the rows that token-wise modules work on.

Shapes: B sequences, T tokens each with padding, R rows, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Layout"]

_SIZES_PER_OCTAVE = 32


@dataclass(frozen=True)
class Layout:
    """Sequence after sequence, T rows each, and then some rows that stand for no token.

    On the CPU every new matrix size costs the making of a kernel (about a millisecond in bfloat16), which is kept as
    long as not too many sizes come by. So a training batch is given a round number of rows. The rows beyond B * T cost
    one or two in a hundred, are never read, and get no gradient.

    Attributes:
        batch_size: B.
        length: T.
        num_rows: R, at least B * T.
    """

    batch_size: int
    length: int
    num_rows: int

    @classmethod
    def of(cls, tokens: Tensor) -> Layout:
        """The layout of a batch (B, T); its number of rows is round where the batch trains on a CPU."""
        batch_size, length = tokens.shape
        num_tokens = batch_size * length
        if tokens.device.type != "cpu" or not torch.is_grad_enabled():
            return cls(batch_size, length, num_tokens)
        step = max(8, 2 ** num_tokens.bit_length() // (2 * _SIZES_PER_OCTAVE))
        return cls(batch_size, length, -(-num_tokens // step) * step)

    @property
    def num_tokens(self) -> int:
        """B * T, padding included."""
        return self.batch_size * self.length

    def to_rows(self, matrix: Tensor) -> Tensor:
        """(B, T, ...) -> (R, ...), zeros in the rows beyond."""
        rows = matrix.reshape(self.num_tokens, *matrix.shape[2:])
        missing = self.num_rows - self.num_tokens
        return functional.pad(rows, (0, 0) * (rows.ndim - 1) + (0, missing)) if missing else rows

    def to_matrix(self, rows: Tensor) -> Tensor:
        """(R, ...) -> (B, T, ...), a view."""
        return rows[: self.num_tokens].view(self.batch_size, self.length, *rows.shape[1:])
