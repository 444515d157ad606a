"""The layers and stacks of a Transformer (Vaswani et al., 2017).

Shapes: B sequences, S memory (source) tokens, T tokens, K hypotheses a sentence, D features, M features of the memory.
"""

from __future__ import annotations

from torch import Tensor, nn

from seqtrain.nn.attention import CrossAttention, SelfAttention
from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.dropout import add_dropout
from seqtrain.nn.feed_forward import FeedForward
from seqtrain.nn.options import LayerOptions

__all__ = ["DecoderLayer", "DecoderStack", "EncoderLayer", "EncoderStack", "ResidualNorm"]


class ResidualNorm(nn.LayerNorm):
    """The residual connection and the layer norm around a sublayer f.

    Post-norm: LN(x + dropout(f(x))). Pre-norm: x + dropout(f(LN(x))).
    """

    def __init__(self, options: LayerOptions) -> None:
        super().__init__(options.embed_dim)
        self.normalize_before = options.normalize_before
        self.dropout = options.dropout

    def enter(self, x: Tensor) -> Tensor:
        """What the sublayer reads, (..., D) -> (..., D)."""
        return self(x) if self.normalize_before else x

    def leave(self, x: Tensor, output: Tensor) -> Tensor:
        """Add the sublayer's output to its input, both (..., D)."""
        x = add_dropout(x, output, self.dropout, self.training)
        return x if self.normalize_before else self(x)


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        self.self_attention = SelfAttention(options)
        self.self_attention_norm = ResidualNorm(options)
        self.feed_forward = FeedForward(options)
        self.feed_forward_norm = ResidualNorm(options)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, S, D) -> (B, S, D); the bias hides padding."""
        norm = self.self_attention_norm
        x = norm.leave(x, self.self_attention(norm.enter(x), bias=bias))
        norm = self.feed_forward_norm
        return norm.leave(x, self.feed_forward(norm.enter(x)))


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to a memory where there is one, then the feed-forward network."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        self.self_attention = SelfAttention(options)
        self.self_attention_norm = ResidualNorm(options)
        self.cross_attention: CrossAttention | None = None
        self.cross_attention_norm: ResidualNorm | None = None
        if options.memory_dim is not None:
            self.cross_attention = CrossAttention(options)
            self.cross_attention_norm = ResidualNorm(options)
        self.feed_forward = FeedForward(options)
        self.feed_forward_norm = ResidualNorm(options)

    def forward(self, x: Tensor, memory: Tensor | None, bias: Tensor | None) -> Tensor:
        """Read whole sequences (B, T, D), with the memory (B, S, M) and the bias that hides its padding."""
        norm = self.self_attention_norm
        x = norm.leave(x, self.self_attention(norm.enter(x), is_causal=True))
        if self.cross_attention is not None and memory is not None:
            key, value = self.cross_attention.project_memory(memory)
            x = self._read_memory(x, key, value, bias)
        return self._think(x)

    def step(self, x: Tensor, cache: TransformerCache, layer: int) -> Tensor:
        """Read one token of each hypothesis: (B, K, D) -> (B, K, D)."""
        norm = self.self_attention_norm
        query, key, value = self.self_attention.project(norm.enter(x))
        key, value = cache.append(layer, key, value)
        x = norm.leave(x, self.self_attention.attend(query, key, value, bias=cache.ancestry_bias))
        if cache.memory is not None:
            x = self._read_memory(x, *cache.memory[layer], cache.memory_bias)
        return self._think(x)

    def _read_memory(self, x: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        attention, norm = self.cross_attention, self.cross_attention_norm
        assert attention is not None
        assert norm is not None
        return norm.leave(x, attention(norm.enter(x), key, value, bias=bias))

    def _think(self, x: Tensor) -> Tensor:
        norm = self.feed_forward_norm
        return norm.leave(x, self.feed_forward(norm.enter(x)))


class EncoderStack(nn.Module):
    """Encoder layers, and a last norm where they are pre-norm."""

    def __init__(self, num_layers: int, options: LayerOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(options) for _ in range(num_layers))
        self.norm = nn.LayerNorm(options.embed_dim) if options.normalize_before else None

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, S, D) -> (B, S, D); the bias hides padding."""
        for layer in self.layers:
            x = layer(x, bias)
        return x if self.norm is None else self.norm(x)


class DecoderStack(nn.Module):
    """Decoder layers, and a last norm where they are pre-norm and it is wanted."""

    def __init__(self, num_layers: int, options: LayerOptions, *, final_norm: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(options) for _ in range(num_layers))
        self.norm = nn.LayerNorm(options.embed_dim) if options.normalize_before and final_norm else None

    def forward(self, x: Tensor, memory: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Read whole sequences (B, T, D) -> (B, T, D), with a memory (B, S, M) and the bias that hides its padding."""
        for layer in self.layers:
            x = layer(x, memory, bias)
        return x if self.norm is None else self.norm(x)

    def init_cache(self, batch_size: int, beam_size: int) -> TransformerCache:
        """An empty cache without a memory, for batch_size * beam_size hypotheses."""
        return TransformerCache(len(self.layers), batch_size, beam_size)

    def init_cache_with_memory(self, memory: Tensor, bias: Tensor | None, beam_size: int) -> TransformerCache:
        """An empty cache whose hypotheses read a memory (B, S, M); its keys and values are computed once, here."""
        cache = self.init_cache(memory.shape[0], beam_size)
        cache.memory = [self._memory_of(layer, memory) for layer in self.layers]
        cache.memory_bias = bias
        return cache

    def step(self, x: Tensor, cache: TransformerCache) -> Tensor:
        """Read one token of each hypothesis: (B, K, D) -> (B, K, D)."""
        cache.start_step(x.device, x.dtype)
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, DecoderLayer)
            x = layer.step(x, cache, index)
        return x if self.norm is None else self.norm(x)

    @staticmethod
    def _memory_of(layer: nn.Module, memory: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(layer, DecoderLayer)
        assert layer.cross_attention is not None
        key, value = layer.cross_attention.project_memory(memory)
        return key.contiguous(), value.contiguous()
