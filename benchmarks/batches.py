"""The batches of multi30k_tiny: Multi30k En-De where it is there, else sentences of the same lengths at random."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seqtrain.config.root import BatchingConfig
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.loader import BatchIterator
from seqtrain.data.pairs import PairDataset
from seqtrain.data.vocabulary import Vocabulary

NUM_TYPES = 9_712  # of the recipe's joined vocabulary, special symbols included
NUM_PAIRS = 29_000
MULTI30K = Path(__file__).resolve().parents[2] / "shared" / "data" / "multi30k" / "bpe-en-de"


def multi30k() -> tuple[PairDataset, str]:
    """The training pairs as token numbers below `NUM_TYPES`, and where they come from."""
    if not MULTI30K.exists():
        return _random_pairs(), "random sentences of Multi30k's lengths"
    sides = [_read(MULTI30K / f"train.{language}.gz") for language in ("en", "de")]
    counts = Counter(symbol for side in sides for line in side for symbol in line)
    vocabulary = Vocabulary.build(counts, num_words=NUM_TYPES)
    sources, targets = ([vocabulary.encode(line) for line in side] for side in sides)
    return PairDataset.from_lists(sources, targets), f"Multi30k En-De, {len(vocabulary)} types"


def endless_batches(dataset: PairDataset, max_tokens: int) -> Iterator[Batch]:
    """One micro-batch an update, epoch after epoch, in the recipe's order."""
    epoch = 0
    while True:
        epoch += 1
        options = IterationOptions(
            batching=BatchingConfig(max_tokens=max_tokens, num_prefetch=0), max_positions=(1024, 1024), epoch=epoch
        )
        for batches in BatchIterator(dataset, options):
            yield from batches


def _read(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.split() for line in file]


def _random_pairs() -> PairDataset:
    """Lengths from two correlated log-normal distributions of Multi30k's means (14.6 and 15.1 tokens with the end)."""
    generator = np.random.default_rng(1)
    source_log = generator.normal(2.6, 0.29, NUM_PAIRS)
    target_log = 0.8 * source_log + 0.54 + generator.normal(0.0, 0.19, NUM_PAIRS)
    sides = []
    for logs in (source_log, target_log):
        lengths = np.exp(logs).round().astype(int).clip(3, 50)
        frequent = generator.zipf(1.3, int(lengths.sum())) % (NUM_TYPES - 4) + 4
        sides.append([[*words.tolist(), Vocabulary.eos] for words in np.split(frequent, lengths.cumsum()[:-1])])
    return PairDataset.from_lists(*sides)
