"""A loop over torch.nn.Transformer: torch's cross-entropy, clipping and fused Adam; with autocast if in bf16."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.training.settings import EOS, PAD, Settings, Shape
from benchmarks.training.token_batches import TokenBatch
from benchmarks.training.trainer import Trainer

Prepared = tuple[Tensor, Tensor, Tensor]


def sinusoidal_positions(num_positions: int, width: int) -> Tensor:
    """(T, D), as in "Attention is all you need" (2017), section 3.5."""
    positions = torch.arange(num_positions)[:, None]
    frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = positions * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


class PlainTransformer(nn.Module):
    """What one writes around torch.nn.Transformer: one table, sinusoidal positions, the masks."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = shape.width
        self.table = nn.Embedding(shape.num_types, shape.width, padding_idx=PAD)
        nn.init.normal_(self.table.weight, std=shape.width**-0.5)
        self.register_buffer("positions", sinusoidal_positions(shape.max_length, shape.width))
        self.dropout = nn.Dropout(shape.dropout)
        layers = shape.num_layers
        self.transformer = nn.Transformer(
            shape.width, shape.num_heads, layers, layers, shape.ffn_width, shape.dropout, batch_first=True
        )
        for module in self.transformer.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = 0.0  # no contestant drops attention weights

    def embed(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, D)."""
        positions = self.get_buffer("positions")[: tokens.shape[1]]
        embedded: Tensor = self.dropout(self.table(tokens) * self.width**0.5 + positions)
        return embedded

    def forward(self, source: Tensor, previous: Tensor) -> Tensor:
        """(B, S), (B, T) -> logits (B, T, V)."""
        padding = source == PAD
        bias = torch.zeros_like(padding, dtype=torch.float32).masked_fill(padding, float("-inf"))
        output = self.transformer(
            self.embed(source),
            self.embed(previous),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(previous.shape[1], device=previous.device),
            src_key_padding_mask=bias,
            memory_key_padding_mask=bias,
            tgt_is_causal=True,
        )
        return functional.linear(output, self.table.weight)


class PlainTrainer(Trainer[Prepared]):
    """See `Trainer`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.versions = {}
        self.model = PlainTransformer(settings.shape).to(settings.device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=settings.learning_rate, betas=settings.betas, fused=True
        )
        self.forward = torch.compile(self.model, dynamic=True) if settings.is_compiled else self.model

    def prepare(self, batch: TokenBatch) -> Prepared:
        """See `Trainer`."""
        arrays = batch.padded_sources(), batch.previous_tokens(EOS), batch.padded_targets()
        source, previous, targets = (torch.from_numpy(array).to(self.settings.device) for array in arrays)
        return source, previous, targets

    def update(self, prepared: Prepared) -> None:
        """See `Trainer`."""
        source, previous, targets = prepared
        self.optimizer.zero_grad()
        with self.autocast(), self.attention():
            logits = self.forward(source, previous)
            loss = functional.cross_entropy(
                logits.flatten(0, 1),
                targets.flatten(),
                ignore_index=PAD,
                label_smoothing=self.settings.shape.smoothing,
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()


def make(settings: Settings) -> PlainTrainer:
    """The contestant."""
    return PlainTrainer(settings)
