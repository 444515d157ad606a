"""The figures of a quality report on data: pure functions of what is known of each line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from seqtrain.data.batching import Plan
from seqtrain.data.tokens import IntArray
from seqtrain.verification.lines import Flags, Marks

_QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, kw_only=True)
class SideFigures:
    """One language of a split.

    Attributes:
        language: "" for a text in one language.
        num_lines: All of them.
        num_tokens: The end symbols included, as in all lengths below.
        mean_length: Tokens of a line.
        median_length: Half of the lines have at most so many tokens.
        length_95: 95 % of the lines have at most so many tokens.
        length_99: 99 % of the lines have at most so many tokens.
        max_length: The longest line.
        num_unknown: Tokens that are not in the vocabulary.
        num_empty: Lines of white space alone.
        num_duplicates: Lines that have occurred before in the split.
        num_replacement: Lines with U+FFFD, which stands for bytes that a decoder could not read.
        num_control: Lines with control characters.
    """

    language: str
    num_lines: int
    num_tokens: int
    mean_length: float
    median_length: int
    length_95: int
    length_99: int
    max_length: int
    num_unknown: int
    num_empty: int
    num_duplicates: int
    num_replacement: int
    num_control: int


@dataclass(frozen=True, kw_only=True)
class PairFigures:
    """The pairs of a split.

    Attributes:
        num_duplicates: Pairs that have occurred before in the split.
        num_copies: Pairs whose source and target are the same, empty ones left out.
        median_ratio: Half of the pairs have at most so many source tokens to a target token.
        num_uneven: Pairs one side of which is longer than `max_ratio` times the other.
    """

    num_duplicates: int
    num_copies: int
    median_ratio: float
    num_uneven: int


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How much of a split is in the training data word for word.

    Attributes:
        lines: By language, the lines of the split that are lines of train.
        pairs: The pairs of the split that are pairs of train; None without pairs.
    """

    lines: dict[str, int]
    pairs: int | None


@dataclass(frozen=True, kw_only=True)
class BatchFigures:
    """One epoch over a split.

    Attributes:
        num_examples: Pairs, or blocks of a text.
        num_batches: Of one process.
        padding: By side ("source", "target"), how much of the batches' rectangles is padding, as a fraction.
        filtered: Examples that are left out, by reason.
    """

    num_examples: int
    num_batches: int
    padding: dict[str, float]
    filtered: dict[str, int] = field(default_factory=dict)


def side_figures(language: str, marks: Marks, lengths: IntArray, num_unknown: int) -> SideFigures:
    """The figures of one language of a split.

    Args:
        language: Its name.
        marks: Of its N lines.
        lengths: (N,) tokens, the end symbol included; N is 1 at least.
        num_unknown: Tokens that are not in the vocabulary.
    """
    median, most, nearly_all = np.quantile(lengths, _QUANTILES, method="inverted_cdf")
    return SideFigures(
        language=language,
        num_lines=len(lengths),
        num_tokens=int(lengths.sum()),
        mean_length=float(lengths.mean()),
        median_length=int(median),
        length_95=int(most),
        length_99=int(nearly_all),
        max_length=int(lengths.max()),
        num_unknown=num_unknown,
        num_empty=int(marks.is_empty.sum()),
        num_duplicates=int(repeats(marks.digests).sum()),
        num_replacement=int(marks.has_replacement.sum()),
        num_control=int(marks.has_control.sum()),
    )


def repeats(digests: IntArray) -> Flags:
    """(N,) whether a line has occurred before."""
    flags = np.ones(len(digests), np.bool_)
    flags[np.unique(digests, return_index=True)[1]] = False
    return flags


def copies(source: Marks, target: Marks) -> Flags:
    """(N,) whether a pair is twice the same line, which is not empty."""
    flags: Flags = (source.digests == target.digests) & ~source.is_empty
    return flags


def unevenness(source: IntArray, target: IntArray) -> np.ndarray:
    """(N,) how many times as long as its other side the longer side of each pair is; each has a token at least."""
    ratio: np.ndarray = np.maximum(source, target) / np.maximum(1, np.minimum(source, target))
    return ratio


def median_ratio(source: IntArray, target: IntArray) -> float:
    """Source tokens to a target token: half of the pairs have at most so many."""
    return float(np.quantile(source / np.maximum(1, target), 0.5, method="inverted_cdf"))


def is_in(digests: IntArray, others: IntArray) -> Flags:
    """(N,) whether each line is among others."""
    flags: Flags = np.isin(digests, others)
    return flags


def padding_shares(lengths: IntArray, batches: Iterable[IntArray]) -> dict[str, float]:
    """How much of the batches' rectangles is padding, by side that has tokens.

    Args:
        lengths: (N, 2) source and target tokens of each example.
        batches: The numbers of the examples of each batch.
    """
    tokens, room = np.zeros(2), np.zeros(2)
    for indices in batches:
        rows = lengths[indices]
        tokens += rows.sum(axis=0)
        room += len(rows) * rows.max(axis=0)
    sides = zip(("source", "target"), tokens.tolist(), room.tolist(), strict=True)
    return {side: 1 - used / size for side, used, size in sides if size}


def batch_figures(lengths: IntArray, plan: Plan) -> BatchFigures:
    """The figures of an epoch's batches.

    Args:
        lengths: (N, 2) source and target tokens of each example.
        plan: Its batches.
    """
    return BatchFigures(
        num_examples=plan.num_examples,
        num_batches=plan.num_batches,
        padding=padding_shares(lengths, plan.batches()),
        filtered=plan.filtered,
    )
