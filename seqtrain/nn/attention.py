"""Multi-head attention.

Shapes: B sequences, T queries, S keys, H heads, D features, d = D / H features of a head, M features of the memory that
cross-attention reads. In a step of generation the K hypotheses of a sentence are its queries: T = K.
"""

from __future__ import annotations

from torch import Tensor, nn

from seqtrain.nn.attention_backends import attend
from seqtrain.nn.init import xavier_blocks_
from seqtrain.nn.options import LayerOptions

__all__ = ["CrossAttention", "SelfAttention"]


class _Attention(nn.Module):
    """What both kinds share: splitting into heads, attending, and the map of the heads' output."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        self.num_heads = options.num_heads
        self.dropout = options.attention_dropout
        self.output = nn.Linear(options.embed_dim, options.embed_dim)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def split(self, projected: Tensor, num_blocks: int) -> tuple[Tensor, ...]:
        """Part the result of one wide projection: (B, T, num_blocks * D) -> num_blocks tensors (B, H, T, d)."""
        batch, length, width = projected.shape
        blocks = projected.view(batch, length, num_blocks, self.num_heads, width // (num_blocks * self.num_heads))
        return blocks.permute(2, 0, 3, 1, 4).unbind(0)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Queries (B, H, T, d) over keys and values (B, H, S, d) -> (B, T, D); see `attend` of the backends."""
        heads = attend(
            query, key, value, bias=bias, is_causal=is_causal, dropout=self.dropout if self.training else 0.0
        )
        batch, _, length, _ = heads.shape
        output: Tensor = self.output(heads.transpose(1, 2).reshape(batch, length, -1))  # (B, H, T, d) -> (B, T, D)
        return output


class SelfAttention(_Attention):
    """Attention of a sequence to itself; queries, keys and values come from one wide projection."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__(options)
        self.query_key_value = nn.Linear(options.embed_dim, 3 * options.embed_dim)
        xavier_blocks_(self.query_key_value.weight, 3, gain=2**-0.5)

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, T, D) -> queries, keys and values, each (B, H, T, d)."""
        return self.split(self.query_key_value(x), 3)

    def forward(self, x: Tensor, *, bias: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Attend within each sequence: (B, T, D) -> (B, T, D).

        Args:
            x: The sequences.
            bias: Added to the scores, broadcast to (B, H, T, T): -inf where a key is padding.
            is_causal: Let each position see only itself and those before it.
        """
        query, key, value = self.project(x)
        return self.attend(query, key, value, bias=bias, is_causal=is_causal)


class CrossAttention(_Attention):
    """Attention of a sequence to another one, whose keys and values come from one wide projection."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__(options)
        assert options.memory_dim is not None, "cross-attention reads a memory"
        gain = 2**-0.5 if options.memory_dim == options.embed_dim else 1.0
        self.query = nn.Linear(options.embed_dim, options.embed_dim)
        self.key_value = nn.Linear(options.memory_dim, 2 * options.embed_dim)
        xavier_blocks_(self.query.weight, 1, gain=gain)
        xavier_blocks_(self.key_value.weight, 2, gain=gain)

    def project_memory(self, memory: Tensor) -> tuple[Tensor, ...]:
        """(B, S, M) -> keys and values, each (B, H, S, d)."""
        return self.split(self.key_value(memory), 2)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None = None) -> Tensor:
        """Attend to a memory: (B, T, D) -> (B, T, D).

        Args:
            x: The queries' sequences.
            key: (B, H, S, d), from `project_memory`.
            value: (B, H, S, d), likewise.
            bias: Added to the scores, broadcast to (B, H, T, S): -inf where a key is padding.
        """
        (query,) = self.split(self.query(x), 1)
        return self.attend(query, key, value, bias=bias)
