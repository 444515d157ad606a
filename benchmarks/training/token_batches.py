"""Batches of token numbers in a file, which all contestants read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.training.settings import EOS, PAD, Shape

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class TokenBatch:
    """The sentences of one update.

    Attributes:
        sources: One array of numbers for each sentence, the end symbol last; none for a language model.
        targets: Likewise.
    """

    sources: list[Tokens]
    targets: list[Tokens]

    @property
    def num_tokens(self) -> int:
        """Target tokens, the end symbols included."""
        return sum(map(len, self.targets))

    def padded_sources(self) -> Tokens:
        """(B, S)."""
        return pad(self.sources)

    def padded_targets(self) -> Tokens:
        """(B, T)."""
        return pad(self.targets)

    def targets_after(self, first: int) -> list[Tokens]:
        """The targets, each with the token `first` before it."""
        return [np.append(first, target) for target in self.targets]

    def previous_tokens(self, first: int) -> Tokens:
        """(B, T): the targets, moved on by one place; each sentence begins with the token `first`."""
        return pad([row[:-1] for row in self.targets_after(first)])

    def flops(self, shape: Shape) -> float:
        """Of an update on it."""
        sources = np.array([len(source) for source in self.sources], dtype=np.int64)
        targets = np.array([len(target) for target in self.targets], dtype=np.int64)
        crossed = int(sources @ targets) if len(sources) else 0
        return shape.flops(
            int(sources.sum()), int(targets.sum()), int(sources @ sources), int(targets @ targets), crossed
        )


def pad(rows: Sequence[Tokens]) -> Tokens:
    """(B, longest), padded on the right."""
    lengths = np.array([len(row) for row in rows])
    padded = np.full((len(rows), lengths.max()), PAD, dtype=np.int64)
    padded[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(rows)
    return padded


def save(path: Path, batches: Sequence[TokenBatch]) -> None:
    """Write batches to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Tokens] = {"sizes": np.array([len(batch.targets) for batch in batches])}
    for side in ("sources", "targets"):
        rows = [row for batch in batches for row in getattr(batch, side)]
        arrays[f"{side}_lengths"] = np.array([len(row) for row in rows], dtype=np.int64)
        arrays[side] = np.concatenate(rows).astype(np.int32) if rows else np.zeros(0, dtype=np.int32)
    np.savez(path, allow_pickle=False, **arrays)


def load(path: Path) -> list[TokenBatch]:
    """The batches of a file."""
    with np.load(path) as arrays:
        sides = {}
        for side in ("sources", "targets"):
            ends = np.cumsum(arrays[f"{side}_lengths"])
            sides[side] = np.split(arrays[side].astype(np.int64), ends[:-1]) if len(ends) else []
        ends = np.cumsum(arrays["sizes"])
        starts = ends - arrays["sizes"]
    return [
        TokenBatch(sides["sources"][start:end], sides["targets"][start:end])
        for start, end in zip(starts, ends, strict=True)
    ]


def random_rows(num_batches: int, num_rows: int, shape: Shape, seed: int) -> list[TokenBatch]:
    """Rows of as many tokens as the model takes, for a language model; the numbers are spread as words' are (Zipf)."""
    generator = np.random.default_rng(seed)
    size = (num_batches, num_rows, shape.max_length)
    numbers = generator.zipf(1.3, size) % (shape.num_types - EOS - 2) + EOS + 2
    return [TokenBatch([], list(rows)) for rows in numbers.astype(np.int64)]


def random_pairs(num_batches: int, max_tokens: int, shape: Shape, seed: int) -> list[TokenBatch]:
    """Pairs with lengths like those of WMT (log-normal, means of 30 and 32 tokens, correlated), longest first in turn.

    Each batch has pairs of about the same length, and at most `max_tokens` target tokens with the padding.
    """
    generator = np.random.default_rng(seed)
    num_pairs = 2 * num_batches * max_tokens // 30
    logs = generator.normal(3.22, 0.6, num_pairs)
    noise = generator.normal(0.06, 0.17, num_pairs)
    sources, targets = (np.exp(log).round().astype(int).clip(3, 250) for log in (logs, logs + noise))
    order = np.lexsort((sources, targets))
    groups, start = [], 0
    while start < num_pairs:
        end = start + 1
        while end < num_pairs and (end + 1 - start) * targets[order[end]] <= max_tokens:
            end += 1
        groups.append(order[start:end])
        start = end
    chosen = generator.permutation(len(groups) - 1)[:num_batches]  # the last group is what was left
    return [
        TokenBatch(
            *([_sentence(generator, length, shape) for length in side[groups[g]]] for side in (sources, targets))
        )
        for g in chosen
    ]


def _sentence(generator: np.random.Generator, length: int, shape: Shape) -> Tokens:
    words = generator.zipf(1.3, length - 1) % (shape.num_types - EOS - 2) + EOS + 2
    return np.append(words, EOS)
