"""Multi-head attention.

Shapes: B sequences, T queries, S keys, R rows (see `Layout`), H heads, D features, d = D / H features of a head, M
features of the memory that cross-attention reads. In a step of generation the K hypotheses of a sentence are its
queries: T = K.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from seqtrain.config.sections import AttentionBackend
from seqtrain.nn.attention_backends import AttentionShape, attend_rows, split_heads
from seqtrain.nn.attention_shape import AttentionSize
from seqtrain.nn.init import xavier_blocks_
from seqtrain.nn.layout import Layout
from seqtrain.nn.linear import Linear
from seqtrain.nn.options import LayerOptions
from seqtrain.nn.varlen_attention import load_varlen

__all__ = ["CrossAttention", "Memory", "SelfAttention", "attention_sizes", "set_attention_backend"]


def attention_sizes(model: nn.Module) -> set[AttentionSize]:
    """The sizes of all attention in a model; none if it has no attention of this kind."""
    modules = [module for module in model.modules() if isinstance(module, _Attention)]
    return {
        AttentionSize(module.num_heads, module.output.in_features // module.num_heads, module.attention_dropout)
        for module in modules
    }


def set_attention_backend(model: nn.Module, backend: AttentionBackend) -> None:
    """Have all attention in a model computed in this way, wherever it can be."""
    if backend is AttentionBackend.varlen:
        load_varlen()
    for module in model.modules():
        if isinstance(module, _Attention):
            module.backend = backend


@dataclass(frozen=True)
class Memory:
    """What cross-attention reads: the encoder's output.

    Attributes:
        features: Rows (R, M).
        layout: How they stand for (B, S) tokens.
        bias: (B, 1, 1, S), hides padding; None where nothing is padded.
    """

    features: Tensor
    layout: Layout
    bias: Tensor | None


class _Attention(nn.Module):
    """What both kinds share: the map of the heads' output, and attending in a step of generation."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        self.num_heads = options.num_heads
        self.attention_dropout = options.attention_dropout
        self.backend = AttentionBackend.auto
        self.output = Linear(options.embed_dim, options.embed_dim)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def shape(self, queries: Layout, keys: Layout, *, is_causal: bool = False) -> AttentionShape:
        """What the backends must know."""
        dropout = self.attention_dropout if self.training else 0.0
        return AttentionShape(self.num_heads, queries, keys, is_causal, dropout, self.backend)

    def attend_step(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """One token of each hypothesis, (B, H, K, d), over kept keys and values (B, H, S, d): -> rows (B*K, D)."""
        if bias is not None:
            bias = bias.to(query.dtype)
        heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)  # (B, H, K, d)
        output: Tensor = self.output(heads.transpose(1, 2).flatten(2).flatten(0, 1))
        return output


class SelfAttention(_Attention):
    """Attention of a sequence to itself; queries, keys and values come from one wide projection."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__(options)
        self.query_key_value = Linear(options.embed_dim, 3 * options.embed_dim)
        xavier_blocks_(self.query_key_value.weight, 3, gain=2**-0.5)

    def forward(self, x: Tensor, layout: Layout, *, bias: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Attend within each sequence: rows (R, D) -> (R, D).

        Args:
            x: The sequences.
            layout: How they stand in the rows.
            bias: Added to the scores, broadcast to (B, H, T, T): -inf where a key is padding.
            is_causal: Let each position see only itself and those before it.
        """
        projected = self.query_key_value(x)  # (R, D) -> (R, 3 * D)
        output: Tensor = self.output(
            attend_rows(projected, None, bias, self.shape(layout, layout, is_causal=is_causal))
        )
        return output

    def project(self, x: Tensor, layout: Layout) -> tuple[Tensor, ...]:
        """Rows (R, D) -> queries, keys and values, each (B, H, T, d)."""
        return split_heads(self.query_key_value(x), layout, self.num_heads, 3)


class CrossAttention(_Attention):
    """Attention of a sequence to another one, whose keys and values come from one wide projection."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__(options)
        assert options.memory_dim is not None, "cross-attention reads a memory"
        gain = 2**-0.5 if options.memory_dim == options.embed_dim else 1.0
        self.query = Linear(options.embed_dim, options.embed_dim)
        self.key_value = Linear(options.memory_dim, 2 * options.embed_dim)
        xavier_blocks_(self.query.weight, 1, gain=gain)
        xavier_blocks_(self.key_value.weight, 2, gain=gain)

    def forward(self, x: Tensor, layout: Layout, memory: Memory) -> Tensor:
        """Attend to a memory: rows (R, D) -> (R, D)."""
        shape = self.shape(layout, memory.layout)
        output: Tensor = self.output(attend_rows(self.query(x), self.key_value(memory.features), memory.bias, shape))
        return output

    def project(self, x: Tensor, layout: Layout) -> Tensor:
        """Rows (R, D) -> queries (B, H, T, d)."""
        return split_heads(self.query(x), layout, self.num_heads, 1)[0]

    def project_memory(self, memory: Memory) -> tuple[Tensor, ...]:
        """The memory's keys and values, each (B, H, S, d)."""
        return split_heads(self.key_value(memory.features), memory.layout, self.num_heads, 2)
