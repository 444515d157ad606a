"""What a Transformer layer can be told; free of torch, so that schemas can use it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Activation", "LayerOptions"]


class Activation(Enum):
    """The non-linearity of the feed-forward network."""

    relu = "relu"
    """max(0, x)."""
    gelu = "gelu"
    """x Φ(x), with the normal distribution function Φ, not an approximation of it (Hendrycks & Gimpel, 2016)."""


@dataclass(frozen=True, kw_only=True)
class LayerOptions:
    """The sizes and settings of one Transformer layer.

    Attributes:
        embed_dim: Width of the layer's input and output, D.
        ffn_embed_dim: Width inside the feed-forward network, F.
        num_heads: Attention heads, H; they divide D.
        normalize_before: Pre-norm, x + f(LN(x)), instead of post-norm, LN(x + f(x)).
        activation: Of the feed-forward network.
        dropout: On the output of each sublayer, before it is added.
        attention_dropout: On attention probabilities.
        activation_dropout: After the activation of the feed-forward network.
        memory_dim: Width of the features that cross-attention reads; None for a layer without it.
    """

    embed_dim: int
    ffn_embed_dim: int
    num_heads: int
    normalize_before: bool = False
    activation: Activation = Activation.relu
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    memory_dim: int | None = None
