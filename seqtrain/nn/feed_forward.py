"""The position-wise feed-forward network.

Shapes: D features, F features inside. It never sees how a batch is laid out: any leading dimensions will do.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from seqtrain.nn.dropout import dropout
from seqtrain.nn.linear import Linear
from seqtrain.nn.options import Activation, LayerOptions

__all__ = ["FeedForward"]


class FeedForward(nn.Module):
    """Two linear maps with an activation between: (..., D) -> (..., F) -> (..., D)."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        self.inner = Linear(options.embed_dim, options.ffn_embed_dim)
        self.outer = Linear(options.ffn_embed_dim, options.embed_dim)
        self.activation = options.activation
        self.activation_dropout = options.activation_dropout

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        hidden: Tensor = self.inner(x)  # (..., D) -> (..., F)
        hidden = functional.relu_(hidden) if self.activation is Activation.relu else functional.gelu(hidden)
        output: Tensor = self.outer(dropout(hidden, self.activation_dropout, self.training))  # (..., F) -> (..., D)
        return output
