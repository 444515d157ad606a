"""Small stand-ins that speak the real interfaces: a task whose data are in memory, and models of a few weights.

Shapes: B sentences, S source tokens, T target tokens, D features, V entries of the target vocabulary.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from seqtrain.data.batch import Batch
from seqtrain.data.pairs import PairDataset
from seqtrain.data.vocabulary import SPECIAL_SYMBOLS, Vocabulary
from seqtrain.models import DecoderModel, EncoderDecoderModel, ModelConfig
from seqtrain.tasks import Task, TaskConfig

Pair = tuple[Sequence[int], Sequence[int]]


@dataclass(kw_only=True)
class TinyTaskConfig(TaskConfig):
    """Copying short random words."""

    data: str = "in memory"
    """Nothing is read."""


class TinyTask(Task):
    """Copying: each target is its source, a few random letters. What a model must learn is small, and certain.

    Args:
        num_letters: Size of the alphabet, at most 26.
        num_examples: Pairs of each split.
        has_sources: False makes it a language model's task: the targets alone.
    """

    def __init__(self, *, num_letters: int = 8, num_examples: int = 32, has_sources: bool = True) -> None:
        super().__init__(TinyTaskConfig())
        self.num_examples = num_examples
        self.has_sources = has_sources
        self.target_vocabulary = Vocabulary(string.ascii_lowercase[:num_letters])
        self.source_vocabulary = self.target_vocabulary if has_sources else None

    def setup(self) -> None:
        """Nothing to do: the vocabulary is there from the start."""

    def save_assets(self, folder: Path) -> None:
        """See `Task`."""
        self.target_vocabulary.save(folder / "dict.txt")

    def load_assets(self, folder: Path) -> None:
        """See `Task`."""
        self.target_vocabulary = Vocabulary.load(folder / "dict.txt")
        self.source_vocabulary = self.target_vocabulary if self.has_sources else None

    def load_dataset(self, split: str) -> PairDataset:
        """See `Task`: any split, each with words of its own."""
        generator = random.Random(split)
        words = [self.random_word(generator, generator.randint(1, 6)) for _ in range(self.num_examples)]
        return PairDataset.from_lists(words if self.has_sources else None, words)

    def random_word(self, generator: random.Random, length: int) -> list[int]:
        """The numbers of so many random letters, and of the end symbol."""
        letters = range(len(SPECIAL_SYMBOLS), len(self.target_vocabulary))
        return [*generator.choices(letters, k=length), self.target_vocabulary.eos]


def collate(pairs: Sequence[Pair]) -> Batch:
    """The batch of these pairs of source and target tokens, each ended by the end symbol."""
    dataset = PairDataset.from_lists([source for source, _ in pairs], [target for _, target in pairs])
    return dataset.collate(np.arange(len(dataset)))


def with_padding(batch: Batch, num_columns: int) -> Batch:
    """The same sentences, with so many more columns of padding on the right of sources and targets."""

    def widen(tokens: Tensor) -> Tensor:
        return nn.functional.pad(tokens, (0, num_columns), value=Vocabulary.pad)

    targets = widen(batch.targets)
    return replace(
        batch,
        previous_tokens=widen(batch.previous_tokens),
        targets=targets,
        target_positions=targets.flatten().ne(Vocabulary.pad).nonzero().squeeze(-1),
        source_tokens=None if batch.source_tokens is None else widen(batch.source_tokens),
    )


class TinyModel(EncoderDecoderModel):
    """Bags of words: the mean source embedding plus the previous token's embedding, mapped to logits."""

    def __init__(self, task: Task, *, width: int = 8) -> None:
        super().__init__(ModelConfig(), task)
        assert task.source_vocabulary is not None
        size = len(task.target_vocabulary)
        self.source_embedding = nn.Embedding(len(task.source_vocabulary), width)
        self.target_embedding = nn.Embedding(size, width)
        self.output = nn.Linear(width, size, bias=False)

    def features(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        """(B, S), (B,), (B, T) -> (B, T, D)."""
        positions = torch.arange(source_tokens.shape[1], device=source_tokens.device)
        is_real = (positions < source_lengths[:, None]).unsqueeze(-1)  # (B, S, 1)
        source = (self.source_embedding(source_tokens) * is_real).sum(dim=1) / source_lengths[:, None]  # (B, D)
        return torch.tanh(source[:, None] + self.target_embedding(previous_tokens))

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        """See `EncoderDecoderModel`."""
        logits: Tensor = self.output(self.features(source_tokens, source_lengths, previous_tokens))
        return logits


class TinyFeatureModel(TinyModel):
    """The same model, which also offers what a fused loss asks for. See `seqtrain.models.base.FeatureModel`."""

    def forward_features(self, batch: Batch) -> Tensor:
        """See `FeatureModel`."""
        assert batch.source_tokens is not None
        assert batch.source_lengths is not None
        return self.features(batch.source_tokens, batch.source_lengths, batch.previous_tokens)

    @property
    def output_weight(self) -> Tensor:
        """See `FeatureModel`."""
        return self.output.weight


class TinyLanguageModel(DecoderModel):
    """Bigrams: the previous token's embedding, mapped to logits."""

    def __init__(self, task: Task, *, width: int = 8) -> None:
        super().__init__(ModelConfig(), task)
        self.embedding = nn.Embedding(len(task.target_vocabulary), width)
        self.output = nn.Linear(width, len(task.target_vocabulary), bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """See `DecoderModel`."""
        logits: Tensor = self.output(torch.tanh(self.embedding(tokens)))
        return logits
