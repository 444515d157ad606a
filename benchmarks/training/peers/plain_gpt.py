"""A plain loop over a model of GPT-2's form (Radford et al., 2019): pre-norm, learned positions, one table."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.training.settings import EOS, PAD, Settings, Shape
from benchmarks.training.token_batches import TokenBatch
from benchmarks.training.trainer import Trainer


class Block(nn.Module):
    """Self-attention and a feed-forward part, each after a norm and beside a residual connection."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.inputs, self.output = nn.Linear(shape.width, 3 * shape.width), nn.Linear(shape.width, shape.width)
        self.feed_forward = nn.Sequential(
            nn.Linear(shape.width, shape.ffn_width),
            nn.GELU(approximate="tanh"),
            nn.Linear(shape.ffn_width, shape.width),
        )
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        heads = self.inputs(self.attention_norm(x)).unflatten(2, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.output(mixed))
        result: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return result


class PlainGPT(nn.Module):
    """Tokens to logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.table = nn.Embedding(shape.num_types, shape.width)
        self.positions = nn.Embedding(shape.max_length, shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.num_layers)))
        self.norm = nn.LayerNorm(shape.width)
        self.apply(_initialize)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, V)."""
        x = self.table(tokens) + self.positions.weight[: tokens.shape[1]]
        return functional.linear(self.norm(self.blocks(self.dropout(x))), self.table.weight)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


class GPTTrainer(Trainer[tuple[Tensor, Tensor]]):
    """See `Trainer`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.versions = {}
        self.model = PlainGPT(settings.shape).to(settings.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, betas=settings.betas, weight_decay=0.0, fused=True
        )
        self.forward = torch.compile(self.model) if settings.is_compiled else self.model

    def prepare(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """See `Trainer`."""
        arrays = batch.previous_tokens(EOS), batch.padded_targets()
        tokens, targets = (torch.from_numpy(array).to(self.settings.device) for array in arrays)
        return tokens, targets

    def update(self, prepared: tuple[Tensor, Tensor]) -> None:
        """See `Trainer`."""
        tokens, targets = prepared
        with self.autocast():
            logits = self.forward(tokens)
            loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def make(settings: Settings) -> GPTTrainer:
    """The contestant."""
    return GPTTrainer(settings)
