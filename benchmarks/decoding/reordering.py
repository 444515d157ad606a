"""A Transformer with the usual cache, which moves keys and values; the same function, to be compared with ours.

Shapes: B sentences, K hypotheses a sentence, N = B * K, H heads, t tokens so far, d features of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqtrain.models.base import DecoderCache
from seqtrain.models.transformer.model import Transformer
from seqtrain.nn.cache import TransformerCache


class ReorderingCache(TransformerCache):
    """The usual cache: each hypothesis owns its keys and values, which are concatenated and gathered at each step.

    Each hypothesis is a sentence to the decoder; the memory is laid out once for each of them.
    """

    def __init__(self, num_layers: int, batch_size: int, beam_size: int) -> None:
        super().__init__(num_layers, batch_size * beam_size, 1)
        self.rows_per_sentence = beam_size
        self.layers: list[tuple[Tensor, Tensor] | None] = [None] * num_layers

    def start_step(self, device: torch.device, num_rows: int | None = None) -> None:
        """No slots are kept."""
        self.num_steps += 1

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, 1, d) -> (N, H, t, d)."""
        kept = self.layers[layer]
        if kept is not None:
            key, value = torch.cat([kept[0], key], dim=2), torch.cat([kept[1], value], dim=2)
        self.layers[layer] = key, value
        return key, value

    def reorder(self, parents: Tensor) -> None:
        """Gather all keys and values."""
        self.layers = [None if kept is None else (kept[0][parents], kept[1][parents]) for kept in self.layers]

    def keep(self, sentences: Tensor) -> None:
        """Gather those of some sentences."""
        rows = (sentences[:, None] * self.rows_per_sentence + torch.arange(self.rows_per_sentence)).flatten()
        self.reorder(rows)
        super().keep(rows)


class ReorderingTransformer(Transformer):
    """The same Transformer with the usual cache."""

    def init_cache(self, encoded: Any, beam_size: int) -> DecoderCache:
        """See `EncoderDecoderModel`."""
        shared = super().init_cache(encoded, beam_size)
        assert isinstance(shared, TransformerCache)
        assert shared.memory is not None
        cache = ReorderingCache(len(self.decoder.layers), shared.batch_size, beam_size)
        cache.memory = [
            (key.repeat_interleave(beam_size, dim=0), value.repeat_interleave(beam_size, dim=0))
            for key, value in shared.memory
        ]
        if shared.memory_bias is not None:
            cache.memory_bias = shared.memory_bias.repeat_interleave(beam_size, dim=0)
        return cache
