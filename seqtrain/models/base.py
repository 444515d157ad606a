"""What a model promises to the rest of seqtrain.

Shapes: B sentences, S source tokens, T target tokens, D features, V entries of the target vocabulary, K hypotheses a
sentence (beam), N = B * K rows of a decoder step. Padding stands on the right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from seqtrain.data.batch import Batch
    from seqtrain.tasks.base import Task

__all__ = [
    "DecoderCache",
    "DecoderModel",
    "EncoderDecoderModel",
    "EncoderModel",
    "FeatureModel",
    "Model",
    "RecomputeCache",
    "TokenCounts",
]


@dataclass(frozen=True)
class TokenCounts:
    """What updates were made of, padding not counted.

    Attributes:
        num_source_tokens: 0 without sources.
        num_target_tokens: The end symbols included.
        num_sentences: Examples.
    """

    num_source_tokens: int
    num_target_tokens: int
    num_sentences: int


class DecoderCache(ABC):
    """What a decoder keeps between two steps of generation, for N = B * K rows, the K rows of a sentence in a row.

    The cache owns its reordering: a search only says which row each row continues.
    """

    @abstractmethod
    def reorder(self, parents: Tensor) -> None:
        """Make row i continue what was row parents[i].

        Args:
            parents: (N,) row numbers, int64. A row's parent always belongs to the same sentence.
        """

    @abstractmethod
    def keep(self, sentences: Tensor) -> None:
        """Forget all sentences but these.

        Args:
            sentences: (B',) sentence numbers, int64, ascending.
        """


class Model(nn.Module, ABC):
    """The base of all models: built with its config and the task, which has the vocabularies.

    Attributes:
        takes_packed_batches: Whether `forward_batch`, and `forward_features` where there is one, understand packed
            batches (`Batch.is_packed`), whose sentences must not see each other. Others get padded ones alone.
    """

    takes_packed_batches: ClassVar[bool] = False

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward_batch(self, batch: Batch) -> Tensor:
        """The logits (B, T, V) of a batch's targets; criterions call this, through the module that DDP wraps."""

    @property
    def max_positions(self) -> tuple[int, int]:
        """The longest source and the longest target that the model takes, in tokens, the end symbol included."""
        return (2**31 - 1, 2**31 - 1)

    def training_flops(self, counts: TokenCounts) -> float:
        """The floating-point operations of matrix products that training on so many tokens takes.

        This is an estimate for any model: 6 for each token of the longer side and each weight of a matrix, forward and
        backward (Kaplan et al., 2020, https://arxiv.org/abs/2001.08361); tables that are only looked up do not count.
        A model that is not so simple counts for itself, see `seqtrain.nn.flops`.
        """
        output_weight = self.output_weight if isinstance(self, FeatureModel) else None
        tables = {module.weight for module in self.modules() if isinstance(module, nn.Embedding)} - {output_weight}
        matrices = [value for value in self.parameters() if value.dim() > 1 and value not in tables]
        num_tokens = max(counts.num_source_tokens, counts.num_target_tokens)
        return 6.0 * num_tokens * sum(matrix.numel() for matrix in matrices)

    def sharding_units(self) -> list[nn.Module]:
        """The parts that distributed.strategy=fsdp gathers one after another, so that few are whole at a time.

        Each is called as a function by the forward pass, and nothing outside of it reads its parameters. By default
        they are the members of every nn.ModuleList; what is in none, or lies inside another member, is no unit of its
        own. A model whose lists are used in another way names its units here.
        """
        units: list[nn.Module] = []
        inside: set[nn.Module] = set()
        for module in self.modules():  # from the outside in
            if isinstance(module, nn.ModuleList) and module not in inside:
                units += list(module)
                inside.update(*(member.modules() for member in module))
        return units


@runtime_checkable
class FeatureModel(Protocol):
    """A model whose logits are a linear map of features, so that a criterion can fuse the map with the loss."""

    def forward_features(self, batch: Batch) -> Tensor:
        """The features (B, T, D) that `output_projection` turns into logits."""
        ...

    @property
    def output_weight(self) -> Tensor:
        """The weight (V, D) of the output layer, which has no bias."""
        ...


class EncoderDecoderModel(Model):
    """A model that reads a source and writes a target.

    A subclass defines `forward`. With nothing else it can be trained and decoded; decoding then runs the whole prefix
    through `forward` at each step. Define `encode`, `init_cache` and `decode_step` to do better.
    """

    @abstractmethod
    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        """Predict each target token from the source and the target tokens before it.

        Args:
            source_tokens: (B, S) int64, padded on the right.
            source_lengths: (B,) int64, the end symbol included.
            previous_tokens: (B, T) int64, the targets shifted right by one: column t holds the token before target t.

        Returns:
            The logits (B, T, V).
        """

    def forward_batch(self, batch: Batch) -> Tensor:
        """See `Model`."""
        assert batch.source_tokens is not None, "an encoder needs sources"
        assert batch.source_lengths is not None, "an encoder needs sources"
        logits: Tensor = self(batch.source_tokens, batch.source_lengths, batch.previous_tokens)
        return logits

    def encode(self, source_tokens: Tensor, source_lengths: Tensor) -> Any:
        """Read the sources once for a whole generation; what is returned is handed to `init_cache`."""
        return source_tokens, source_lengths

    def init_cache(self, encoded: Any, beam_size: int) -> DecoderCache:
        """An empty cache for B * beam_size rows.

        Args:
            encoded: What `encode` returned.
            beam_size: Rows a sentence.
        """
        source_tokens, source_lengths = encoded
        return RecomputeCache(source_tokens, source_lengths, beam_size)

    def decode_step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """One step of generation.

        Args:
            tokens: (N,) int64, the token of each row that was written last (at first: the start symbol).
            cache: From `init_cache`; brought up to date here.

        Returns:
            The logits (N, V) of each row's next token.
        """
        assert isinstance(cache, RecomputeCache), "a model with a cache of its own defines decode_step"
        cache.append(tokens)
        assert cache.source_tokens is not None
        assert cache.source_lengths is not None
        logits: Tensor = self(cache.source_tokens, cache.source_lengths, cache.previous_tokens)
        return logits[:, -1]


class DecoderModel(Model):
    """A language model: it predicts each token from those before it.

    A subclass defines `forward`; see `EncoderDecoderModel` for what else pays.
    """

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Predict each next token.

        Args:
            tokens: (B, T) int64, padded on the right.

        Returns:
            The logits (B, T, V); row t is of the token after tokens[:, t].
        """

    def forward_batch(self, batch: Batch) -> Tensor:
        """See `Model`."""
        logits: Tensor = self(batch.previous_tokens)
        return logits

    def init_cache(self, batch_size: int, beam_size: int) -> DecoderCache:
        """An empty cache for batch_size * beam_size rows."""
        device = next(self.parameters()).device
        return RecomputeCache(None, None, beam_size, num_rows=batch_size * beam_size, device=device)

    def decode_step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """One step of generation: tokens (N,) written last -> logits (N, V) of the next."""
        assert isinstance(cache, RecomputeCache), "a model with a cache of its own defines decode_step"
        cache.append(tokens)
        logits: Tensor = self(cache.previous_tokens)
        return logits[:, -1]


class EncoderModel(Model):
    """A model that reads a source and predicts one thing about it, or about each of its tokens."""

    @abstractmethod
    def forward(self, source_tokens: Tensor, source_lengths: Tensor) -> Tensor:
        """Read the sources (B, S) of lengths (B,); the logits are (B, S, V), or (B, C) for C classes."""

    def forward_batch(self, batch: Batch) -> Tensor:
        """See `Model`."""
        assert batch.source_tokens is not None, "an encoder needs sources"
        assert batch.source_lengths is not None, "an encoder needs sources"
        logits: Tensor = self(batch.source_tokens, batch.source_lengths)
        return logits


class RecomputeCache(DecoderCache):
    """The cache of a model that defines none: the tokens so far, run through the model again at each step."""

    def __init__(
        self,
        source_tokens: Tensor | None,
        source_lengths: Tensor | None,
        beam_size: int,
        *,
        num_rows: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.beam_size = beam_size
        self.source_tokens: Tensor | None = None
        self.source_lengths: Tensor | None = None
        if source_tokens is not None and source_lengths is not None:
            self.source_tokens = source_tokens.repeat_interleave(beam_size, dim=0)  # (B, S) -> (N, S)
            self.source_lengths = source_lengths.repeat_interleave(beam_size, dim=0)  # (B,) -> (N,)
            num_rows, device = self.source_tokens.shape[0], source_tokens.device
        assert num_rows is not None
        self.previous_tokens: Tensor = torch.empty(num_rows, 0, dtype=torch.long, device=device)  # (N, t)

    def append(self, tokens: Tensor) -> None:
        """Add the newest token of each row, (N,)."""
        self.previous_tokens = torch.cat([self.previous_tokens, tokens[:, None]], dim=1)

    def reorder(self, parents: Tensor) -> None:
        """See `DecoderCache`; the sources need no move, as a parent belongs to the same sentence."""
        self.previous_tokens = self.previous_tokens[parents]

    def keep(self, sentences: Tensor) -> None:
        """See `DecoderCache`."""
        rows = (sentences[:, None] * self.beam_size + torch.arange(self.beam_size, device=sentences.device)).flatten()
        self.previous_tokens = self.previous_tokens[rows]
        if self.source_tokens is not None and self.source_lengths is not None:
            self.source_tokens, self.source_lengths = self.source_tokens[rows], self.source_lengths[rows]
