"""A model, or several, at work on one batch: tokens in, log-probabilities of the next tokens out.

Shapes: B sentences, K rows a sentence, N = B * K rows, V entries of the target vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from seqtrain.models.base import DecoderCache, DecoderModel, EncoderDecoderModel


class Decoder(ABC):
    """What a search needs of a model."""

    @abstractmethod
    def step(self, tokens: Tensor) -> Tensor:
        """Read the newest token of each row, (N,) int64.

        Returns:
            The log-probabilities (N, V) float32 of each row's next token, in memory that the caller may change.
        """

    @abstractmethod
    def reorder(self, parents: Tensor) -> None:
        """Make row i continue what was row parents[i], (N,) int64, of the same sentence."""

    @abstractmethod
    def keep(self, sentences: Tensor) -> None:
        """Forget all sentences but these, (B',) int64, ascending."""


class ModelDecoder(Decoder):
    """One model and its cache.

    Args:
        model: What decodes.
        cache: For all rows.
        temperature: Divides the logits.
    """

    def __init__(
        self, model: EncoderDecoderModel | DecoderModel, cache: DecoderCache, temperature: float = 1.0
    ) -> None:
        self.model = model
        self.cache = cache
        self.temperature = temperature

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        logits = self.model.decode_step(tokens, self.cache)  # (N, V)
        if self.temperature != 1:
            logits = logits.float() / self.temperature
        return torch.log_softmax(logits, dim=-1, dtype=torch.float32)

    def reorder(self, parents: Tensor) -> None:
        """See `Decoder`."""
        self.cache.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        """See `Decoder`."""
        self.cache.keep(sentences)


class WindowDecoder(ModelDecoder):
    """A language model that writes on when its positions are used up.

    It then forgets all but the newest half of its window, which it reads again in a fresh cache. When that happens
    depends on a row's own number of tokens alone, so that its batch mates make no difference.

    Args:
        model: What decodes.
        batch_size: Sentences.
        beam_size: Rows a sentence.
        temperature: Divides the logits.
    """

    def __init__(self, model: DecoderModel, batch_size: int, beam_size: int, temperature: float = 1.0) -> None:
        super().__init__(model, model.init_cache(batch_size, beam_size), temperature)
        self.model: DecoderModel = model
        self.beam_size = beam_size
        self.window_size: int = model.max_positions[1]
        device = next(model.parameters()).device
        # (t, N): the tokens in the cache
        self.window: Tensor = torch.empty(0, batch_size * beam_size, dtype=torch.long, device=device)

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        if len(self.window) == self.window_size:
            self._slide()
        self.window = torch.cat([self.window, tokens[None]])
        return super().step(tokens)

    def _slide(self) -> None:
        self.window = self.window[self.window_size - self.window_size // 2 :]
        self.cache = self.model.init_cache(self.window.shape[1] // self.beam_size, self.beam_size)
        for tokens in self.window:
            self.model.decode_step(tokens, self.cache)

    def reorder(self, parents: Tensor) -> None:
        """See `Decoder`."""
        super().reorder(parents)
        self.window = self.window[:, parents]

    def keep(self, sentences: Tensor) -> None:
        """See `Decoder`."""
        super().keep(sentences)
        self.window = self.window.unflatten(1, (-1, self.beam_size))[:, sentences].flatten(1)
