"""The layout of a packed batch, in which nothing is left to be found out on the device and every shape is known.

Shapes: R rows, A attention rows of L places (see `PackedTokens`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seqtrain.nn.layout import Layout

if TYPE_CHECKING:
    from seqtrain.data.batch import PackedTokens

__all__ = ["PackedLayout", "packed_bias"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedLayout(Layout):
    """The rows of a packed batch, which has them as they are, (1, R).

    Its matrix, which attention sees, are the attention rows: batch_size is A, and length is L.

    Attributes:
        tokens: Where they stand.
    """

    tokens: PackedTokens

    @classmethod
    def of_tokens(cls, tokens: PackedTokens) -> PackedLayout:
        """The layout of one side of a packed batch."""
        num_attention_rows, length = tokens.rows.shape
        return cls(num_attention_rows, length, len(tokens.columns), tokens=tokens)

    @property
    def num_columns(self) -> int:
        """See `Layout`."""
        return self.tokens.num_columns

    def from_batch(self, matrix: Tensor) -> Tensor:
        """(1, R, ...) -> (R, ...)."""
        return matrix.flatten(0, 1)

    def to_batch(self, rows: Tensor) -> Tensor:
        """(R, ...) -> (1, R, ...)."""
        return rows[None]

    def to_rows(self, matrix: Tensor) -> Tensor:
        """(A, L, ...) -> (R, ...); rows that stand for no token get what stands in a place without one."""
        return _rearrange(matrix.flatten(0, 1), self.tokens.places, self.tokens.rows.flatten())

    def to_matrix(self, rows: Tensor) -> Tensor:
        """(R, ...) -> (A, L, ...); a place without a token has the last row, which stands for none."""
        matrix = _rearrange(rows, self.tokens.rows.flatten(), self.tokens.places)
        return matrix.view(self.batch_size, self.length, *rows.shape[1:])

    def repeat(self, vectors: Tensor) -> Tensor:
        """See `Layout`."""
        return functional.embedding(self.tokens.columns, vectors)

    def by_position(self) -> Layout:
        """The same as rows of a padded batch (A, L), for a CPU, which may ask how many tokens there are."""
        if "by_position" not in self.memory:
            num_tokens = int((self.tokens.sequences >= 0).sum())
            places = self.tokens.places[:num_tokens]
            self.memory["by_position"] = Layout(self.batch_size, self.length, self.num_rows, places)
        layout: Layout = self.memory["by_position"]
        return layout


def packed_bias(queries: PackedLayout, keys: PackedLayout, *, is_causal: bool, dtype: torch.dtype) -> Tensor:
    """What to add to the scores of attention rows so that each token sees its own sequence alone.

    It is made once for all layers. A place without a token sees everything: so no row of scores is -inf throughout.

    Args:
        queries: The layout of the queries, L places an attention row.
        keys: Of the keys, L' places.
        is_causal: Let each token see only itself and those before it.
        dtype: The number format of the scores.

    Returns:
        (A, 1, L, L').
    """
    key = ("packed_bias", keys is queries, is_causal, dtype)
    if key not in queries.memory:
        mine, theirs = queries.tokens.sequences, keys.tokens.sequences  # (A, L), (A, L')
        sees = mine[:, :, None] == theirs[:, None, :]  # (A, L, L')
        if is_causal:
            sees = sees.tril()
        sees = sees | (mine < 0)[:, :, None]
        bias = torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(~sees, float("-inf"))
        queries.memory[key] = bias[:, None]
    result: Tensor = queries.memory[key]
    return result


def _rearrange(rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    output: Tensor = _Rearrange.apply(rows, index, inverse)  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
    return output


class _Rearrange(torch.autograd.Function):
    """Rows in another order, in which tokens occur once and what stands for none may occur often.

    The gradient of the latter is zero, for no loss depends on it: so gradients too are gathered, not added up.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return grad.index_select(0, inverse), None, None
