"""A model, or several, at work on one batch: tokens in, distributions of the next tokens out.

Shapes: B sentences, K rows a sentence, N = B * K rows, T tokens, V entries of the target vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from seqtrain.generation.predictions import LazyPredictions, Predictions, log_normalizers
from seqtrain.models.base import DecoderCache, DecoderModel, EncoderDecoderModel
from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.prepared_decoder import PreparedDecoder
from seqtrain.nn.row_cache import RowCache


class Decoder(ABC):
    """What a search needs of a model."""

    @property
    def shares_first_step(self) -> bool:
        """Whether the first step may read one row a sentence, (B,), for its hypotheses are alike."""
        return False

    def read(self, tokens: Tensor, beam_size: int) -> None:
        """Read the first tokens of each sentence, (B, T) int64, before any step, and predict nothing.

        Args:
            tokens: What all K rows of a sentence begin with.
            beam_size: K.
        """
        for column in tokens.unbind(dim=1):
            self.step(column.repeat_interleave(beam_size))

    @abstractmethod
    def step(self, tokens: Tensor) -> Predictions:
        """Read the newest token of each row, (N,) int64, and predict its next one."""

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
        cache: For all rows; a new one.
        temperature: Divides the logits.
        prepared: The model's decoder, laid out for this; None calls the model itself.
    """

    def __init__(
        self,
        model: EncoderDecoderModel | DecoderModel,
        cache: DecoderCache,
        temperature: float = 1.0,
        *,
        prepared: PreparedDecoder | None = None,
    ) -> None:
        self.model = model
        self.cache: DecoderCache = cache
        self.temperature = temperature
        self.prepared = prepared
        self._adopt()

    @property
    def shares_first_step(self) -> bool:
        """See `Decoder`."""
        return self.prepared is not None

    def step(self, tokens: Tensor) -> Predictions:
        """See `Decoder`."""
        features = self._read(tokens)
        if self.prepared is None:
            return LazyPredictions(features, _unchanged, self.temperature)
        kernels = self.prepared.kernels
        normalize = log_normalizers if kernels is None else kernels.log_normalizers
        return LazyPredictions(features, self.prepared.logits, self.temperature, normalize=normalize)

    def _adopt(self) -> None:
        if self.prepared is not None:
            assert isinstance(self.cache, TransformerCache), "the cache of a decoder that can be prepared"
            self.cache = self.prepared.adopt(self.cache)

    def _read(self, tokens: Tensor) -> Tensor:
        """What `LazyPredictions` makes logits of: features (N, D), or the logits (N, V) themselves."""
        if self.prepared is None:
            return self.model.decode_step(tokens, self.cache)
        assert isinstance(self.cache, TransformerCache | RowCache), "see _adopt"
        return self.prepared.step(tokens, self.cache)

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
        prepared: See `ModelDecoder`.
    """

    def __init__(
        self,
        model: DecoderModel,
        batch_size: int,
        beam_size: int,
        temperature: float = 1.0,
        *,
        prepared: PreparedDecoder | None = None,
    ) -> None:
        super().__init__(model, model.init_cache(batch_size, beam_size), temperature, prepared=prepared)
        self.model: DecoderModel = model
        self.beam_size = beam_size
        self.window_size: int = model.max_positions[1]
        device = next(model.parameters()).device
        # (t, N): the tokens in the cache
        self.window: Tensor = torch.empty(0, batch_size * beam_size, dtype=torch.long, device=device)

    @property
    def shares_first_step(self) -> bool:
        """See `Decoder`; the window has all rows."""
        return False

    def read(self, tokens: Tensor, beam_size: int) -> None:
        """See `Decoder`: all at once by a prepared decoder, and of more than the window what would be left in it."""
        if self.prepared is None:
            super().read(tokens, beam_size)
            return
        assert isinstance(self.cache, TransformerCache | RowCache), "see _adopt"
        num_beyond = tokens.shape[1] - self.window_size
        if num_beyond > 0:
            kept = self.window_size // 2  # at each slide, after which there is room for the others
            tokens = tokens[:, -(kept + 1 + (num_beyond - 1) % (self.window_size - kept)) :]
        self.window = tokens.t().repeat_interleave(self.beam_size, dim=1)
        self.prepared.read(tokens, self.cache)

    def step(self, tokens: Tensor) -> Predictions:
        """See `Decoder`."""
        if len(self.window) == self.window_size:
            self._slide()
        self.window = torch.cat([self.window, tokens[None]])
        return super().step(tokens)

    def _slide(self) -> None:
        self.window = self.window[self.window_size - self.window_size // 2 :]
        self.cache = self.model.init_cache(self.window.shape[1] // self.beam_size, self.beam_size)
        self._adopt()
        for tokens in self.window:
            self._read(tokens)

    def reorder(self, parents: Tensor) -> None:
        """See `Decoder`."""
        super().reorder(parents)
        self.window = self.window[:, parents]

    def keep(self, sentences: Tensor) -> None:
        """See `Decoder`."""
        super().keep(sentences)
        self.window = self.window.unflatten(1, (-1, self.beam_size))[:, sentences].flatten(1)


def _unchanged(logits: Tensor) -> Tensor:
    return logits
