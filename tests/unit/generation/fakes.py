"""Small models whose probabilities a test can write down, and a task of letters.

Shapes: B sentences, S source tokens, T target tokens, D features, V entries of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from seqtrain.config.root import GenerationConfig
from seqtrain.data.pairs import PairDataset
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.generation.generator import ContinuationGenerator, Generator, SequenceGenerator
from seqtrain.models.base import DecoderModel, EncoderDecoderModel, Model
from seqtrain.models.schema import ModelConfig
from seqtrain.testing.fakes import TinyTask

Lattice = Mapping[str, Mapping[str, float]]


class LetterTask(TinyTask):
    """A line is a word of letters, each a token."""

    def build_generator(self, models: Sequence[Model], config: GenerationConfig) -> Generator:
        kind = SequenceGenerator if self.has_sources else ContinuationGenerator
        return kind(models, self.target_vocabulary, config)

    def inference_dataset(self, lines: Sequence[str], targets: Sequence[str] | None = None) -> PairDataset:
        words = [self.target_vocabulary.encode(list(line)) for line in lines]
        if not self.has_sources:
            return PairDataset.from_lists(None, words)
        return PairDataset.from_lists(words, [self.target_vocabulary.encode(list(line)) for line in targets or lines])

    def decode(self, tokens: np.ndarray) -> str:
        return "".join(self.target_vocabulary.symbol(int(token)) for token in tokens if token != Vocabulary.eos)


def table_of(lattice: Lattice, vocabulary: Vocabulary) -> Tensor:
    """The log-probabilities (V, V) of the next symbol by the last one; what is not named has probability 0."""
    table = torch.full((len(vocabulary), len(vocabulary)), -math.inf)
    table[:, vocabulary.eos] = 0.0
    for last, successors in lattice.items():
        row = table[vocabulary.index(last)]
        row.fill_(-math.inf)
        for symbol, probability in successors.items():
            row[vocabulary.index(symbol)] = math.log(probability)
    return table


class LatticeModel(EncoderDecoderModel):
    """A Markov chain over the target symbols; the source is not looked at."""

    def __init__(self, lattice: Lattice, task: TinyTask) -> None:
        super().__init__(ModelConfig(), task)
        self.table = nn.Parameter(table_of(lattice, task.target_vocabulary))

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        return self.table[previous_tokens]


class LatticeLM(DecoderModel):
    """The same, as a language model."""

    def __init__(self, lattice: Lattice, task: TinyTask) -> None:
        super().__init__(ModelConfig(), task)
        self.table = nn.Parameter(table_of(lattice, task.target_vocabulary))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


class RandomModel(EncoderDecoderModel):
    """Random probabilities that depend on the source and on every target token so far, in its place."""

    def __init__(self, task: TinyTask, *, seed: int, max_positions: tuple[int, int] = (64, 64)) -> None:
        super().__init__(ModelConfig(), task)
        size, width = len(task.target_vocabulary), 16
        generator = torch.Generator().manual_seed(seed)
        self.embedding = nn.Parameter(torch.randn(size, width, generator=generator))
        self.places = nn.Parameter(torch.randn(128, width, generator=generator))
        self.output = nn.Parameter(torch.randn(width, size, generator=generator))
        self.dropout = nn.Dropout(0.5)
        self._max_positions = max_positions

    @property
    def max_positions(self) -> tuple[int, int]:
        return self._max_positions

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        is_real = torch.arange(source_tokens.shape[1]) < source_lengths[:, None]
        source = (self.embedding[source_tokens] * is_real[..., None]).sum(dim=1, keepdim=True)  # (B, 1, D)
        placed = self.embedding[previous_tokens] * self.places[: previous_tokens.shape[1]]
        features: Tensor = self.dropout(torch.sin(source + placed.cumsum(dim=1)))  # (B, T, D)
        return features @ self.output


class RandomLM(DecoderModel):
    """Random probabilities that depend on every token so far, in its place."""

    def __init__(self, task: TinyTask, *, seed: int, max_positions: int = 64) -> None:
        super().__init__(ModelConfig(), task)
        self.inner = RandomModel(task, seed=seed)
        self._max_positions = max_positions

    @property
    def max_positions(self) -> tuple[int, int]:
        return (2**31 - 1, self._max_positions)

    def forward(self, tokens: Tensor) -> Tensor:
        assert tokens.shape[1] <= self._max_positions
        empty = torch.zeros(len(tokens), 1, dtype=torch.long)
        logits: Tensor = self.inner(empty, torch.zeros(len(tokens), dtype=torch.long), tokens)
        return logits
