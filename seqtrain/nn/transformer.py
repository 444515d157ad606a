"""The layers and stacks of a Transformer (Vaswani et al., 2017).

Shapes: B sequences, T tokens, R rows (see `Layout`), K hypotheses a sentence, D features.
"""

from __future__ import annotations

from torch import Tensor, nn

from seqtrain.nn.attention import CrossAttention, Memory, SelfAttention
from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.compiled_functions import compiled_residual_norm
from seqtrain.nn.dropout import add_dropout
from seqtrain.nn.feed_forward import FeedForward
from seqtrain.nn.layout import Layout
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
        if not self.normalize_before:
            normal = compiled_residual_norm(x, output, self.dropout if self.training else 0.0, self)
            if normal is not None:
                return normal
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

    def forward(self, x: Tensor, layout: Layout, bias: Tensor | None) -> Tensor:
        """Rows (R, D) -> (R, D); the bias hides padding."""
        norm = self.self_attention_norm
        x = norm.leave(x, self.self_attention(norm.enter(x), layout, bias=bias))
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

    def forward(self, x: Tensor, layout: Layout, memory: Memory | None) -> Tensor:
        """Read whole sequences: rows (R, D) -> (R, D)."""
        norm = self.self_attention_norm
        x = norm.leave(x, self.self_attention(norm.enter(x), layout, is_causal=True))
        if memory is not None:
            attention, norm = self._cross_attention()
            x = norm.leave(x, attention(norm.enter(x), layout, memory))
        norm = self.feed_forward_norm
        return norm.leave(x, self.feed_forward(norm.enter(x)))

    def step(self, x: Tensor, layout: Layout, cache: TransformerCache, layer: int) -> Tensor:
        """Read one token of each hypothesis: rows (B*K, D) -> (B*K, D)."""
        norm = self.self_attention_norm
        query, key, value = self.self_attention.project(norm.enter(x), layout)
        key, value = cache.append(layer, key, value)
        x = norm.leave(x, self.self_attention.attend_step(query, key, value, cache.ancestry_bias))
        if cache.memory is not None:
            attention, norm = self._cross_attention()
            query = attention.project(norm.enter(x), layout)
            x = norm.leave(x, attention.attend_step(query, *cache.memory[layer], cache.memory_bias))
        norm = self.feed_forward_norm
        return norm.leave(x, self.feed_forward(norm.enter(x)))

    def memory_of(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """The memory's keys and values (B, H, S, d) in this layer, to be kept for a generation."""
        attention, _ = self._cross_attention()
        key, value = attention.project_memory(memory)
        return key.contiguous(), value.contiguous()

    def _cross_attention(self) -> tuple[CrossAttention, ResidualNorm]:
        assert self.cross_attention is not None, "a layer that reads a memory"
        assert self.cross_attention_norm is not None, "a layer that reads a memory"
        return self.cross_attention, self.cross_attention_norm


class EncoderStack(nn.Module):
    """Encoder layers, and a last norm where they are pre-norm."""

    def __init__(self, num_layers: int, options: LayerOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(options) for _ in range(num_layers))
        self.norm = nn.LayerNorm(options.embed_dim) if options.normalize_before else None

    def forward(self, x: Tensor, layout: Layout, bias: Tensor | None) -> Tensor:
        """Rows (R, D) -> (R, D); the bias (B, 1, 1, T) hides padding."""
        for layer in self.layers:
            x = layer(x, layout, bias)
        return x if self.norm is None else self.norm(x)


class DecoderStack(nn.Module):
    """Decoder layers, and a last norm where they are pre-norm and it is wanted."""

    def __init__(self, num_layers: int, options: LayerOptions, *, final_norm: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(options) for _ in range(num_layers))
        self.norm = nn.LayerNorm(options.embed_dim) if options.normalize_before and final_norm else None

    def forward(self, x: Tensor, layout: Layout, memory: Memory | None = None) -> Tensor:
        """Read whole sequences, rows (R, D) -> (R, D), and a memory where there is one."""
        for layer in self.layers:
            x = layer(x, layout, memory)
        return x if self.norm is None else self.norm(x)

    def init_cache(self, batch_size: int, beam_size: int, memory: Memory | None = None) -> TransformerCache:
        """An empty cache for batch_size * beam_size hypotheses.

        Args:
            batch_size: B.
            beam_size: K.
            memory: What they read; its keys and values are computed once, here.
        """
        cache = TransformerCache(len(self.layers), batch_size, beam_size)
        if memory is not None:
            cache.memory = [_decoder_layer(layer).memory_of(memory) for layer in self.layers]
            cache.memory_bias = memory.bias
        return cache

    def step(self, x: Tensor, cache: TransformerCache) -> Tensor:
        """Read one token of each hypothesis: rows (B*K, D) -> (B*K, D)."""
        layout = Layout(cache.batch_size, cache.beam_size, len(x))
        cache.start_step(x.device)
        for index, layer in enumerate(self.layers):
            x = _decoder_layer(layer).step(x, layout, cache, index)
        return x if self.norm is None else self.norm(x)


def _decoder_layer(layer: nn.Module) -> DecoderLayer:
    assert isinstance(layer, DecoderLayer)
    return layer
