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
        hidden = self._hidden(x)  # (..., D) -> (..., F)
        output: Tensor = self.outer(dropout(hidden, self.activation_dropout, self.training))  # (..., F) -> (..., D)
        return output

    def _hidden(self, x: Tensor) -> Tensor:
        is_relu = self.activation is Activation.relu
        if is_relu and type(self.inner) is Linear:  # a plug-in may put another module in its place
            hidden: Tensor = self.inner(x, relu=True)
            return hidden
        hidden = self.inner(x)
        return functional.relu_(hidden) if is_relu else functional.gelu(hidden)
