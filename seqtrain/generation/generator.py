"""What writes: a batch in, hypotheses out.

Shapes: B sentences, S source tokens, L tokens of a beginning, K rows a sentence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seqtrain.errors import ConfigError
from seqtrain.generation.beam_search import BeamSearch
from seqtrain.generation.constraints import Constraint, MaximumLength, MinimumLength, NoRepeatedNgrams
from seqtrain.generation.decoder import Decoder, ModelDecoder, WindowDecoder
from seqtrain.generation.ensemble import EnsembleDecoder
from seqtrain.generation.hypothesis import Hypothesis
from seqtrain.generation.predictions import mean_of_probabilities
from seqtrain.generation.preparation import Preparation
from seqtrain.generation.sampling import Sampling
from seqtrain.generation.scoring import LengthPenalty, target_log_probs
from seqtrain.generation.search import Rules, Search, Start
from seqtrain.generation.strategy import Strategy
from seqtrain.generation.top_k import top_k
from seqtrain.models.base import DecoderModel, EncoderDecoderModel, Model
from seqtrain.nn.decoding_kernels import decoding_kernels

if TYPE_CHECKING:
    from seqtrain.config.root import GenerationConfig
    from seqtrain.data.batch import Batch
    from seqtrain.data.vocabulary import Vocabulary

__all__ = ["ContinuationGenerator", "Generator", "Hypothesis", "Scorer", "SequenceGenerator"]

_UNLIMITED = 2**31 - 1
_MOST_LOGITS = 2**26  # of one step: 256 MB in float32, and as much again while they are normalized


@contextmanager
def evaluating(models: Sequence[Model]) -> Iterator[None]:
    """Switch dropout and gradients off, and leave each module in the mode in which it was.

    Not by torch's inference mode: a model that keeps what it computes (a table of positions that grows) could not be
    trained afterwards, for such tensors have no part in gradients.
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    for model in models:
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


class Generator(ABC):
    """The base of all generators.

    Args:
        models: One model, or several that decide together.
        vocabulary: Of the targets.
    """

    def __init__(self, models: Sequence[Model], vocabulary: Vocabulary) -> None:
        self.models = models
        self.vocabulary = vocabulary

    def generate(self, batch: Batch) -> list[list[Hypothesis]]:
        """Write, in evaluation mode and without gradients; the models are left as they were.

        Args:
            batch: On the models' device.

        Returns:
            For each sentence of the batch its hypotheses, best first.
        """
        with evaluating(self.models):
            return self._generate(batch)

    @abstractmethod
    def _generate(self, batch: Batch) -> list[list[Hypothesis]]:
        """See `generate`."""

    @property
    def is_thread_safe(self) -> bool:
        """Whether several threads may generate at once, each its batch; a user's model may have state."""
        return False

    @property
    def max_positions(self) -> tuple[int, int]:
        """The longest source and the longest target that can be read, in tokens, the end symbol included."""
        return (_UNLIMITED, _UNLIMITED)

    @property
    def max_sentences(self) -> int:
        """The most sentences of a batch, whatever its limits are; it bounds the memory that the logits take."""
        return _UNLIMITED

    def planned_lengths(self, lengths: np.ndarray) -> np.ndarray:
        """What the limits of a batch are to count, for (num_examples, 2) source and target tokens."""
        return lengths

    def whole_text(self, hypothesis: Hypothesis, previous_tokens: Tensor) -> Tensor:
        """The tokens (T,) of the text that a hypothesis is, or ends.

        Args:
            hypothesis: Of a sentence.
            previous_tokens: (L,) of that sentence.
        """
        return hypothesis.tokens


class SearchGenerator(Generator):
    """A generator that writes token by token, by search or by sampling.

    Args:
        models: One model, or several that decide together.
        vocabulary: Of the targets.
        config: How to write.
    """

    def __init__(self, models: Sequence[Model], vocabulary: Vocabulary, config: GenerationConfig) -> None:
        super().__init__(models, vocabulary)
        self.config = config
        self.beam_size = min(config.beam_size, len(vocabulary) - 1)  # there are no more ways to begin
        self.preparations = [Preparation(model, config.quantization, has_kernels=config.compile) for model in models]
        select = decoding_kernels().top_k if config.compile else top_k
        self.strategy: Strategy = BeamSearch(vocabulary.eos, self.beam_size, select=select)
        if config.sampling:
            self.strategy = Sampling(vocabulary.eos, top_k=config.top_k, top_p=config.top_p, seed=config.seed)
        self.rules = Rules(
            padding_symbol=vocabulary.pad,
            end_symbol=vocabulary.eos,
            unknown_symbol=vocabulary.unk,
            unk_penalty=config.unk_penalty,
            constraints=self._constraints(),
            length_penalty=LengthPenalty(config.length_penalty if config.normalize_scores else 0.0),
            num_best=config.nbest,
        )

    @property
    def is_thread_safe(self) -> bool:
        """See `Generator`."""
        return all(preparation.is_possible for preparation in self.preparations)

    @property
    def max_sentences(self) -> int:
        """See `Generator`; without it a thousand lines of one word would make one batch."""
        return max(1, _MOST_LOGITS // (self.beam_size * len(self.vocabulary)))

    def _constraints(self) -> list[Constraint]:
        eos = self.vocabulary.eos
        constraints: list[Constraint] = [MinimumLength(eos, self.config.min_len)]
        if self.config.no_repeat_ngram_size > 0:
            constraints.append(NoRepeatedNgrams(self.config.no_repeat_ngram_size, self.vocabulary.pad))
        return [*constraints, MaximumLength(eos)]

    def _generate(self, batch: Batch) -> list[list[Hypothesis]]:
        decoders = [self._decoder(preparation, batch) for preparation in self.preparations]
        decoder = decoders[0] if len(decoders) == 1 else EnsembleDecoder(decoders)
        start = self._start(batch)
        search = Search(decoder, self.strategy, rules=self.rules, start=start, beam_size=self.beam_size)
        return search.run()

    @abstractmethod
    def _decoder(self, preparation: Preparation, batch: Batch) -> Decoder:
        """A model, ready to write the batch."""

    @abstractmethod
    def _start(self, batch: Batch) -> Start:
        """What the hypotheses begin with, and how long they may be."""

    def _max_lengths(self, input_lengths: Tensor) -> Tensor:
        """(B,) int64: max_len_a * length + max_len_b, from the sentence's own length."""
        lengths = input_lengths.double() * self.config.max_len_a + self.config.max_len_b
        return lengths.clamp(max=_UNLIMITED).long()


class SequenceGenerator(SearchGenerator):
    """Writes targets for sources, with encoder-decoder models.

    With `prefix_size` the first tokens of each hypothesis are those of the batch's targets.
    """

    models: Sequence[EncoderDecoderModel]

    @property
    def max_positions(self) -> tuple[int, int]:
        """See `Generator`; the targets are not read, so they may have any length."""
        return (min(model.max_positions[0] for model in self.models), _UNLIMITED)

    def _decoder(self, preparation: Preparation, batch: Batch) -> Decoder:
        model = preparation.model
        assert isinstance(model, EncoderDecoderModel)
        assert batch.source_tokens is not None, "an encoder needs sources"
        assert batch.source_lengths is not None, "an encoder needs sources"
        encoded = model.encode(batch.source_tokens, batch.source_lengths)
        cache = model.init_cache(encoded, self.beam_size)
        return ModelDecoder(model, cache, self.config.temperature, prepared=preparation.decoder())

    def _start(self, batch: Batch) -> Start:
        assert batch.source_lengths is not None, "an encoder needs sources"
        longest = min(model.max_positions[1] for model in self.models) - 1
        max_lengths = self._max_lengths(batch.source_lengths).clamp(max=longest)
        prefix = batch.targets[:, : self.config.prefix_size]
        tokens = torch.nn.functional.pad(prefix, (1, 0), value=self.vocabulary.eos)
        # of a prefix that reaches the greatest length the rest is not forced
        lengths = 1 + torch.minimum((prefix != self.vocabulary.pad).sum(dim=1), max_lengths)
        return Start(batch.ids, tokens, lengths, origins=torch.zeros_like(lengths), max_lengths=max_lengths)


class ContinuationGenerator(SearchGenerator):
    """Writes on from a given beginning, with language models.

    The beginning of a sentence is its row of `previous_tokens`, up to the padding. A hypothesis holds what follows it;
    its greatest length comes from the beginning's, the first symbol not counted.
    """

    models: Sequence[DecoderModel]

    def __init__(self, models: Sequence[Model], vocabulary: Vocabulary, config: GenerationConfig) -> None:
        super().__init__(models, vocabulary, config)
        if config.prefix_size > 0:
            raise ConfigError(
                "generation.prefix_size forces the first tokens of a translation; a language model continues its input",
                remedy="leave generation.prefix_size at 0",
            )

    def planned_lengths(self, lengths: np.ndarray) -> np.ndarray:
        """See `Generator`: what is written takes room beside the beginning."""
        written = lengths[:, 1:] * self.config.max_len_a + self.config.max_len_b
        return np.minimum(lengths + written * [0, 1], _UNLIMITED).astype(np.int64)

    def whole_text(self, hypothesis: Hypothesis, previous_tokens: Tensor) -> Tensor:
        """See `Generator`: the beginning and what follows it."""
        beginning = previous_tokens[previous_tokens != self.vocabulary.pad][1:]
        return torch.cat([beginning.cpu(), hypothesis.tokens])

    def _decoder(self, preparation: Preparation, batch: Batch) -> Decoder:
        model = preparation.model
        assert isinstance(model, DecoderModel)
        prepared = preparation.decoder()
        return WindowDecoder(model, len(batch), self.beam_size, self.config.temperature, prepared=prepared)

    def _start(self, batch: Batch) -> Start:
        tokens = batch.previous_tokens
        lengths = (tokens != self.vocabulary.pad).sum(dim=1)
        max_lengths = self._max_lengths(lengths - 1)
        return Start(batch.ids, tokens, lengths, origins=lengths - 1, max_lengths=max_lengths)


class Scorer(Generator):
    """Scores the batch's targets as they are: one hypothesis a sentence, its score the mean log-probability.

    Args:
        models: One model, or several whose probabilities are averaged.
        vocabulary: Of the targets.
    """

    @property
    def max_positions(self) -> tuple[int, int]:
        """See `Generator`."""
        limits = [model.max_positions for model in self.models]
        return (min(source for source, _ in limits), min(target for _, target in limits))

    def _generate(self, batch: Batch) -> list[list[Hypothesis]]:
        log_probs = mean_of_probabilities(
            [target_log_probs(model.forward_batch(batch), batch.targets) for model in self.models]
        ).cpu()  # (B, T)
        targets = batch.targets.cpu()
        hypotheses = []
        for tokens, scores, length in zip(targets, log_probs, (targets != self.vocabulary.pad).sum(dim=1), strict=True):
            total = float(scores[:length].sum())
            score = LengthPenalty(1.0).score(total, max(1, int(length)))
            hypotheses.append([Hypothesis(tokens[:length], score, scores[:length])])
        return hypotheses
