"""From tokens to the input of the first layer.

Shapes: B sequences, T tokens, R rows (see `Layout`), E features of the token table, D features of the layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from seqtrain.nn.dropout import dropout
from seqtrain.nn.init import linear_without_bias
from seqtrain.nn.layout import Layout
from seqtrain.nn.positions import LearnedPositions, SinusoidalPositions

__all__ = ["EmbeddingOptions", "InputEmbedding"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """The settings of an `InputEmbedding`.

    Attributes:
        table_dim: Width of the token table, E.
        embed_dim: Width of the layers, D; where it differs from E, a linear map stands between.
        max_positions: Rows of a learned table of positions; a sinusoidal one starts with so many and grows.
        padding_index: The padding symbol.
        positions: Whether positions are added at all.
        learned_positions: Learned instead of sinusoidal.
        scale: Multiply token embeddings by sqrt(D).
        norm: Normalise the sum before dropout.
        dropout: Its probability.
    """

    table_dim: int
    embed_dim: int
    max_positions: int
    padding_index: int
    positions: bool = True
    learned_positions: bool = False
    scale: bool = True
    norm: bool = False
    dropout: float = 0.0


class InputEmbedding(nn.Module):
    """dropout(LN?(sqrt(D) E[token] + position)).

    The token table is handed in, for encoder, decoder and output layer may share it; positions and norm are its own.
    """

    def __init__(self, options: EmbeddingOptions) -> None:
        super().__init__()
        dim = options.embed_dim
        self.options = options
        self.scale = dim**0.5 if options.scale else 1.0
        self.projection = linear_without_bias(options.table_dim, dim) if options.table_dim != dim else None
        self.positions: LearnedPositions | SinusoidalPositions | None = None
        if options.positions:
            kind = LearnedPositions if options.learned_positions else SinusoidalPositions
            self.positions = kind(options.max_positions, dim, options.padding_index)
        self.norm = nn.LayerNorm(dim) if options.norm else None

    def forward(self, tokens: Tensor, table: Tensor, layout: Layout, start: int = 0) -> Tensor:
        """Embed a piece of each sequence.

        Args:
            tokens: (B, T) int64.
            table: (V, E), the token embeddings.
            layout: Of the tokens, in rows.
            start: The column of the piece's first token.

        Returns:
            Rows (R, D).
        """
        padding_index = self.options.padding_index
        x = functional.embedding(layout.from_batch(tokens), table, padding_idx=padding_index)  # (B, T) -> (R, E)
        if self.scale != 1.0:
            x = x * self.scale
        if self.projection is not None:
            x = self.projection(x)  # (R, E) -> (R, D)
        if self.positions is not None:
            x = x + layout.repeat(self.positions(start, layout.num_columns))  # (T, D) -> (R, D)
        if self.norm is not None:
            x = self.norm(x)
        return dropout(x, self.options.dropout, self.training)
