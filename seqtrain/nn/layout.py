"""How the tokens of a batch stand in the rows that token-wise modules work on.

Shapes: B sequences, T tokens each with padding, N tokens without padding, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seqtrain.nn.own_kernels import uses_own_kernels

__all__ = ["Layout"]

_SIZES_PER_OCTAVE = 32


@dataclass(frozen=True, eq=False)
class Layout:
    """Which row each token has.

    A dense layout has a row for every position of the batch, in order. A packed one, in which a CPU trains, has rows
    for the N tokens that are no padding, in order, and a few more that stand for no token: they are never read, and get
    no gradient. Those make R a round number. A new size of matrix costs the CPU the making of a kernel (about a
    millisecond), which is kept as long as not too many sizes come by.

    Attributes:
        batch_size: B.
        length: T.
        num_rows: R; more than N in a packed layout.
        positions: (N,), where the token of each row stands in the flattened batch (B * T); None in a dense layout.
        memory: What others have worked out for this layout, to be used in every layer.
    """

    batch_size: int
    length: int
    num_rows: int
    positions: Tensor | None = None
    memory: dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def dense(cls, tokens: Tensor) -> Layout:
        """A row for every position of (B, T)."""
        return cls(tokens.shape[0], tokens.shape[1], tokens.numel())

    @classmethod
    def packed(cls, is_token: Tensor) -> Layout:
        """Rows for the positions (B, T) that hold a token, and at least one more."""
        positions = is_token.flatten().nonzero().squeeze(1)
        step = max(8, 2 ** len(positions).bit_length() // (2 * _SIZES_PER_OCTAVE))
        num_rows = (len(positions) // step + 1) * step
        return cls(is_token.shape[0], is_token.shape[1], num_rows, positions)

    @classmethod
    def of(cls, tokens: Tensor, padding_index: int) -> Layout:
        """The layout of a batch (B, T): packed where a CPU trains. On a GPU the host would have to wait for N."""
        if uses_own_kernels(tokens.device) and torch.is_grad_enabled():
            return cls.packed(tokens != padding_index)
        return cls.dense(tokens)

    @property
    def num_columns(self) -> int:
        """Tokens of the longest sequence."""
        return self.length

    def from_batch(self, matrix: Tensor) -> Tensor:
        """What belongs to the tokens of a batch, (B, T, ...), in rows (R, ...)."""
        return self.to_rows(matrix)

    def to_batch(self, rows: Tensor) -> Tensor:
        """(R, ...) -> (B, T, ...), as the batch has its tokens."""
        return self.to_matrix(rows)

    def to_rows(self, matrix: Tensor) -> Tensor:
        """(B, T, ...) -> (R, ...), zeros in the rows that stand for no token."""
        rows = matrix.flatten(0, 1)
        if self.positions is None:
            return rows
        return functional.pad(rows[self.positions], (0, 0) * (rows.ndim - 1) + (0, self.num_rows - len(self.positions)))

    def to_matrix(self, rows: Tensor) -> Tensor:
        """(R, ...) -> (B, T, ...); what stands in the place of padding has no meaning."""
        if self.positions is not None:
            rows = _Spread.apply(rows, self.row_numbers().flatten(), self.positions)  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
        return rows.view(self.batch_size, self.length, *rows.shape[1:])

    def repeat(self, vectors: Tensor) -> Tensor:
        """A vector for each column, (T, D), put into the rows of that column's tokens: (R, D)."""
        if self.positions is None:
            return vectors.expand(self.batch_size, -1, -1).flatten(0, 1)
        columns = functional.pad(self.positions % self.length, (0, self.num_rows - len(self.positions)))
        return functional.embedding(columns, vectors)

    def row_numbers(self, length: int | None = None) -> Tensor:
        """The row of each position, (B, T), or (B, length) with a longer length.

        A position without a token has the last row, which stands for none.
        """
        device = None if self.positions is None else self.positions.device
        positions = torch.arange(self.num_rows, device=device) if self.positions is None else self.positions
        numbers = torch.full((self.batch_size * self.length,), self.num_rows - 1, device=device)
        numbers[positions] = torch.arange(len(positions), device=device)
        matrix = numbers.view(self.batch_size, self.length)
        return functional.pad(matrix, (0, (length or self.length) - self.length), value=self.num_rows - 1)


class _Spread(torch.autograd.Function):
    """Rows to positions; the gradient of torch's own indexing would add up what needs only to be copied."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, row_numbers: Tensor, positions: Tensor) -> Tensor:
        ctx.save_for_backward(positions)
        ctx.num_rows = len(rows)
        return rows.index_select(0, row_numbers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (positions,) = ctx.saved_tensors
        missing = ctx.num_rows - len(positions)
        return functional.pad(grad.index_select(0, positions), (0, 0) * (grad.ndim - 1) + (0, missing)), None, None
