"""A Transformer decoder that is laid out for generation: the same function, step by step, with fewer operations.

Shapes: B sentences, K hypotheses a sentence, N = B * K rows, T tokens of a beginning, H heads, d features of a head, D
features, C slots of the cache, S memory tokens, V entries of the vocabulary.

Weights are copied once, in the number format of the products and in the order that the hardware likes; the scale of
attention is part of the queries' weights. On a CPU attention is two matrix products in float32: a step has few queries
and many keys, for which the fused kernel is slow, and the sizes change at every step, for which oneDNN would make a
kernel each time.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.nn.attention import CrossAttention, SelfAttention
from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.decoding_kernels import DecodingKernels
from seqtrain.nn.embedding import InputEmbedding
from seqtrain.nn.feed_forward import FeedForward
from seqtrain.nn.layout import Layout
from seqtrain.nn.options import Activation
from seqtrain.nn.packed_linear import PackedLinear, pack_linear
from seqtrain.nn.row_cache import RowCache
from seqtrain.nn.transformer import DecoderLayer, DecoderStack, ResidualNorm

__all__ = ["DecoderParts", "DecodingFormat", "PreparedDecoder", "can_be_prepared"]

_ROWS_READ_AT_ONCE = 4096  # of beginnings; more are not faster and take more memory
_FEWEST_KEYS = 16  # torch's softmax on a CPU takes ten times as long for rows that do not fill a vector register


@dataclass(frozen=True)
class DecodingFormat:
    """How a decoder is laid out.

    Attributes:
        dtype: Of the matrix products.
        int8: Hold large weights as 8-bit integers; on a CPU only.
        kernels: Compiled for the CPU, for attention; None leaves it to torch.
    """

    dtype: torch.dtype = torch.float32
    int8: bool = False
    kernels: DecodingKernels | None = None


@dataclass(frozen=True)
class DecoderParts:
    """The modules that a step of generation goes through, in their order.

    Attributes:
        input: From tokens to rows.
        table: (V, E), the token embeddings.
        stack: The layers.
        projection: Between the last layer and the output layer, where their widths differ.
        output_weight: (V, D), the output layer, which has no bias.
    """

    input: InputEmbedding
    table: Tensor
    stack: DecoderStack
    projection: nn.Linear | None
    output_weight: Tensor


class PreparedDecoder:
    """A decoder in evaluation mode; see `DecodingFormat`.

    Attributes:
        kernels: What computes attention; None for torch.
    """

    def __init__(self, parts: DecoderParts, form: DecodingFormat) -> None:
        self._parts = parts
        self._dtype = form.dtype
        self.kernels = form.kernels
        self._device_type = parts.output_weight.device.type
        self._layers = [_PreparedLayer(layer, form) for layer in parts.stack.layers if isinstance(layer, DecoderLayer)]
        self._norm = None if parts.stack.norm is None else _Norm(parts.stack.norm, form.dtype)
        self._projection: PackedLinear | None = None
        if parts.projection is not None:
            self._projection = pack_linear(parts.projection.weight, parts.projection.bias, form.dtype)
        self._output = pack_linear(parts.output_weight, None, form.dtype, int8=form.int8)

    def adopt(self, cache: TransformerCache) -> TransformerCache | RowCache:
        """What `step` takes in place of an empty cache.

        For torch the memory is brought into the number format of attention, and has few keys at least.
        """
        if self.kernels is not None:
            return RowCache(cache, self.kernels)
        cache.dtype = torch.float32 if self._device_type == "cpu" else self._dtype
        if cache.memory is None:
            return cache
        cache.memory = [(key.to(cache.dtype), value.to(cache.dtype)) for key, value in cache.memory]
        num_keys = cache.memory[0][0].shape[2]
        num_missing = _FEWEST_KEYS - num_keys
        if self._device_type == "cpu" and num_missing > 0:
            pad = functools.partial(functional.pad, pad=(0, 0, 0, num_missing))
            cache.memory = [(pad(key), pad(value)) for key, value in cache.memory]
            bias = cache.memory_bias
            if bias is None:
                bias = torch.zeros(cache.batch_size, 1, 1, num_keys)
            cache.memory_bias = functional.pad(bias, (0, num_missing), value=float("-inf"))
        return cache

    def read(self, tokens: Tensor, cache: TransformerCache | RowCache) -> None:
        """Read the first tokens of each sentence, (B, T), into an empty cache; for decoders without a memory.

        It does what T steps would do, of which the hypotheses of a sentence share the keys and values.
        """
        num_sentences, num_tokens = tokens.shape
        num_at_once = max(1, _ROWS_READ_AT_ONCE // num_tokens)
        with torch.autocast(self._device_type, enabled=False):
            if isinstance(cache, RowCache):
                cache.start_reading(num_tokens)
            else:
                cache.start_reading(num_tokens, tokens.device)
            for first in range(0, num_sentences, num_at_once):
                sentences = slice(first, min(first + num_at_once, num_sentences))
                chosen = tokens[sentences]
                x = self._parts.input(chosen, self._parts.table, Layout.dense(chosen)).to(self._dtype)  # (B' * T, D)
                for number, layer in enumerate(self._layers):
                    x = layer.read(x, cache, number, sentences)

    def step(self, tokens: Tensor, cache: TransformerCache | RowCache) -> Tensor:
        """Read the newest token of each row: (N,) -> the features (N, D) that the output layer reads.

        Where all hypotheses of each sentence have the same token, one row a sentence, (B,), is enough.
        """
        with torch.autocast(self._device_type, enabled=False):  # it would convert all keys and values at each step
            layout = Layout(len(tokens), 1, len(tokens))
            x = self._parts.input(tokens[:, None], self._parts.table, layout, cache.num_steps).to(self._dtype)
            num_rows = len(tokens) // cache.batch_size
            cache.start_step(num_rows) if isinstance(cache, RowCache) else cache.start_step(x.device, num_rows)
            for number, layer in enumerate(self._layers):
                x = layer.step(x, cache, number)
            if self._norm is not None:
                x = self._norm(x)
            return x if self._projection is None else self._projection(x)

    def logits(self, features: Tensor) -> Tensor:
        """The output layer, (R, D) -> (R, V) float32."""
        return self._output(features).float()


class _Norm:
    """A layer norm whose weights are in the format of the rows."""

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        self._shape = list(norm.normalized_shape)
        self._weight, self._bias = norm.weight.detach().to(dtype, copy=True), norm.bias.detach().to(dtype, copy=True)
        self._epsilon = norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self._shape, self._weight, self._bias, self._epsilon)


class _Sublayer:
    """Residual connection and norm around a function that ends in a linear map, which adds the residual by itself."""

    def __init__(self, norm: ResidualNorm, last: PackedLinear, dtype: torch.dtype) -> None:
        self._norm = _Norm(norm, dtype)
        self._normalize_before = norm.normalize_before
        self._last = last

    def enter(self, x: Tensor) -> Tensor:
        return self._norm(x) if self._normalize_before else x

    def leave(self, x: Tensor, hidden: Tensor) -> Tensor:
        x = self._last(hidden, x).to(x.dtype)  # products of 8-bit integers are float32
        return x if self._normalize_before else self._norm(x)


class _PreparedLayer:
    def __init__(self, layer: DecoderLayer, form: DecodingFormat) -> None:
        own = layer.self_attention
        self._num_heads = own.num_heads
        self._query_key_value = _pack_scaled(own, own.query_key_value, form)
        self._self = _Sublayer(layer.self_attention_norm, _pack(own.output, form), form.dtype)
        self._query: PackedLinear | None = None
        if layer.cross_attention is not None:
            assert layer.cross_attention_norm is not None, "a layer that reads a memory"
            self._query = _pack_scaled(layer.cross_attention, layer.cross_attention.query, form)
            output = _pack(layer.cross_attention.output, form)
            self._cross = _Sublayer(layer.cross_attention_norm, output, form.dtype)
        self._inner, self._activation = _pack(layer.feed_forward.inner, form), _activation(layer.feed_forward)
        self._feed_forward = _Sublayer(layer.feed_forward_norm, _pack(layer.feed_forward.outer, form), form.dtype)

    def step(self, x: Tensor, cache: TransformerCache | RowCache, number: int) -> Tensor:
        """Rows (N, D) -> (N, D)."""
        projected = self._query_key_value(self._self.enter(x))  # (N, D) -> (N, 3 * D)
        x = self._self.leave(x, self._attend_self(projected, cache, number).to(x.dtype))
        if self._query is not None:
            query = self._query(self._cross.enter(x))
            x = self._cross.leave(x, self._attend_memory(query, cache, number).to(x.dtype))
        return self._feed(x)

    def read(self, x: Tensor, cache: TransformerCache | RowCache, number: int, sentences: slice) -> Tensor:
        """The rows (B' * T, D) of some sentences' beginnings -> (B' * T, D)."""
        assert self._query is None, "a layer without a memory"
        projected = self._query_key_value(self._self.enter(x))  # (B' * T, 3 * D)
        query, key, value = self._split(projected, sentences.stop - sentences.start, 3)
        if isinstance(cache, RowCache):
            cache.keep_beginning(number, projected, sentences)
        else:
            cache.keep_beginning(number, key, value, sentences)
        heads = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
        return self._feed(self._self.leave(x, heads.transpose(1, 2).reshape(x.shape).to(x.dtype)))

    def _feed(self, x: Tensor) -> Tensor:
        hidden = self._feed_forward.enter(x)
        if self._activation is Activation.relu:
            hidden = self._inner.relu(hidden)
        else:
            hidden = functional.gelu(self._inner(hidden))
        return self._feed_forward.leave(x, hidden.to(x.dtype))

    def _attend_self(self, projected: Tensor, cache: TransformerCache | RowCache, number: int) -> Tensor:
        """Queries, keys and values (N, 3 * D) -> (N, D)."""
        if isinstance(cache, RowCache):
            return cache.attend(number, projected, self._num_heads)
        query, key, value = self._split(projected, cache.batch_size, 3)
        key, value = cache.append(number, key, value)
        return _attend(query, key, value, cache.ancestry_bias)

    def _attend_memory(self, rows: Tensor, cache: TransformerCache | RowCache, number: int) -> Tensor:
        """Queries (N, D) -> (N, D)."""
        if isinstance(cache, RowCache):
            return cache.attend_memory(number, rows, self._num_heads)
        assert cache.memory is not None, "a layer that reads a memory"
        (query,) = self._split(rows, cache.batch_size, 1)
        return _attend(query, *cache.memory[number], cache.memory_bias)

    def _split(self, rows: Tensor, batch_size: int, parts: int) -> tuple[Tensor, ...]:
        """(N, parts * D) -> `parts` of (B, H, K, d)."""
        return (
            rows.view(batch_size, -1, parts, self._num_heads, rows.shape[1] // (parts * self._num_heads))
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(q k' + bias) v: scaled queries (B, H, K, d) over keys and values (B, H, S, d) -> rows (N, D)."""
    if query.device.type != "cpu":
        if bias is not None:
            bias = bias.to(key.dtype)
        heads = functional.scaled_dot_product_attention(query.to(key.dtype), key, value, attn_mask=bias, scale=1.0)
        return heads.transpose(1, 2).flatten(2).flatten(0, 1)
    batch, num_heads, num_rows, dim = query.shape
    # torch.matmul would do the same, with twice as many operations, which count where there are few rows
    flat = query.reshape(batch * num_heads, num_rows, dim).to(key.dtype)
    scores = torch.bmm(flat, key.flatten(0, 1).transpose(1, 2))  # (B * H, K, S)
    if bias is not None:
        scores.view(batch, num_heads, num_rows, -1).add_(bias)
    heads = torch.bmm(torch.softmax(scores, dim=-1), value.flatten(0, 1))  # (B * H, K, d)
    return heads.view(batch, num_heads, num_rows, dim).transpose(1, 2).reshape(batch * num_rows, num_heads * dim)


def _pack(linear: nn.Linear, form: DecodingFormat) -> PackedLinear:
    return pack_linear(linear.weight, linear.bias, form.dtype, int8=form.int8)


def _pack_scaled(attention: SelfAttention | CrossAttention, linear: nn.Linear, form: DecodingFormat) -> PackedLinear:
    """Make the first D output features, which are the queries, smaller by sqrt(d)."""
    width = linear.in_features
    weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
    scale = (width // attention.num_heads) ** -0.5
    weight[:width] *= scale
    bias[:width] *= scale
    return pack_linear(weight, bias, form.dtype, int8=form.int8)


def _activation(network: FeedForward) -> Activation:
    return network.activation


def can_be_prepared(stack: DecoderStack) -> bool:
    """Whether the layers are those of this package, and no one's variation of them."""
    kinds = {"self_attention": SelfAttention, "cross_attention": CrossAttention, "feed_forward": FeedForward}
    return all(
        type(layer) is DecoderLayer
        and all(type(getattr(layer, name)) in (kind, type(None)) for name, kind in kinds.items())
        for layer in stack.layers
    )
