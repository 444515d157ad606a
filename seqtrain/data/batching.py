"""The batching plan: which examples make which batch, as a pure function of lengths, limits, seed and epoch.

The examples of a shard are put in a random order, then sorted by target length and by source length, each sort stable,
so that examples of equal lengths stay shuffled; the sorted row is cut into batches, and the batches are shuffled. The
cuts depend on the lengths alone, so an epoch has the same number of batches each time. A dataset of more than
`SHARD_SIZE` examples is planned shard by shard, which bounds the memory of a plan; the shards come in a random order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from seqtrain.data.dataset import IterationOptions
from seqtrain.data.tokens import IntArray

SHARD_SIZE = 8_000_000
Indices = npt.NDArray[np.uint32]


class _Purpose(IntEnum):
    """What a stream of random numbers is for; part of its seed."""

    shard_order = 1
    example_order = 2
    batch_order = 3


@dataclass(frozen=True)
class Limits:
    """What bounds a batch.

    Attributes:
        max_tokens: Sentences times the longest of them on either side, or None.
        max_sentences: Sentences, or None.
        multiple: A batch holds at most so many sentences or a multiple of it.
        max_source: The longest source, in tokens.
        max_target: The longest target, in tokens.
    """

    max_tokens: int | None
    max_sentences: int | None
    multiple: int
    max_source: int
    max_target: int

    @classmethod
    def of(cls, options: IterationOptions) -> Limits:
        """The limits of an epoch."""
        batching = options.batching
        return cls(
            batching.max_tokens, batching.max_sentences, batching.required_batch_size_multiple, *options.max_positions
        )


def filter_by_length(lengths: IntArray, limits: Limits) -> tuple[Indices, dict[str, int]]:
    """The examples that fit a batch and the model.

    Args:
        lengths: (N, 2) source and target tokens.
        limits: What is too long.

    Returns:
        The numbers of the examples that are kept, ascending; and how many are left out, by the (first) reason.
    """
    source, target = lengths[:, 0], lengths[:, 1]
    rules = [
        (f"source longer than {limits.max_source} tokens", source, limits.max_source),
        (f"target longer than {limits.max_target} tokens", target, limits.max_target),
    ]
    if limits.max_tokens is not None:
        rules.append((f"longer than max_tokens={limits.max_tokens}", np.maximum(source, target), limits.max_tokens))
    kept = np.arange(len(lengths), dtype=np.uint32)
    filtered: dict[str, int] = {}
    for reason, sizes, limit in rules:
        if sizes.max(initial=0) > limit:
            fits = sizes[kept] <= limit
            if count := int(np.count_nonzero(~fits)):
                filtered[reason] = count
            kept = kept[fits]
    return kept, filtered


def sort_by_length(lengths: IntArray, order: Indices) -> Indices:
    """Sort examples by source length, then target length, keeping the order of equal ones.

    Args:
        lengths: (N, 2) source and target tokens.
        order: Numbers of examples, in the order that ties keep.
    """
    # numpy sorts 16-bit numbers by radix, several times faster than others
    dtype = np.uint16 if int(lengths.max(initial=0)) < 2**16 else np.int64
    for side in (1, 0):
        keys = lengths[:, side].astype(dtype)[order]
        order = order[np.argsort(keys, kind="stable")]
    return order


def sizes_in_order(lengths: IntArray, kept: Indices) -> IntArray:
    """The longer side of each example that is kept, in the order of `sort_by_length`, which need not be made for it."""
    source, target = lengths[kept, 0], lengths[kept, 1]
    width = int(target.max(initial=0)) + 1
    if (int(source.max(initial=0)) + 1) * width > max(2**16, len(kept)):
        source, target = lengths[sort_by_length(lengths, kept)].T
        sizes: IntArray = np.maximum(source, target)
        return sizes
    counts = np.bincount(source * width + target)  # of each pair of lengths, in their order
    pairs = np.flatnonzero(counts)
    return np.repeat(np.maximum(pairs // width, pairs % width), counts[pairs])


def cut(sizes: IntArray, limits: Limits) -> IntArray:
    """Cut a row of examples into batches, each as large as the limits allow.

    A batch of more than `multiple` sentences is shortened to a multiple of it; what is left begins the next batch.

    Args:
        sizes: (N,) tokens of each example, none above `max_tokens`.
        limits: Of a batch.

    Returns:
        (num_batches + 1,) bounds: batch b is bounds[b] ... bounds[b + 1] - 1.
    """
    num_examples, start, bounds = len(sizes), 0, [0]
    most = min(limits.max_sentences or num_examples, num_examples)
    counting = np.arange(1, most + 1, dtype=np.int64)
    while start < num_examples:
        count = min(most, num_examples - start)
        if limits.max_tokens is not None:
            count = min(count, limits.max_tokens // max(1, int(sizes[start])))  # no later one makes room for more
            padded = np.maximum.accumulate(sizes[start : start + count])
            padded *= counting[:count]
            if padded[-1] > limits.max_tokens:
                count = int(padded.searchsorted(limits.max_tokens, side="right"))
        if count > limits.multiple:
            count -= count % limits.multiple
        start += count
        bounds.append(start)
    return np.array(bounds, dtype=np.int64)


class Shard:
    """A range of a dataset's examples: what is the same in each epoch, the batches' bounds and what is left out."""

    def __init__(self, lengths: IntArray, limits: Limits, first_example: int = 0) -> None:
        """Cut a shard.

        Args:
            lengths: (N, 2) source and target tokens of the shard's examples.
            limits: Of a batch.
            first_example: The number of the shard's first example in the dataset.
        """
        self.first_example = first_example
        self._lengths = lengths
        self._limits = limits
        kept, self.filtered = filter_by_length(lengths, limits)
        self.num_examples = len(kept)
        self.bounds = cut(sizes_in_order(lengths, kept), limits)

    @property
    def num_batches(self) -> int:
        """The batches of the shard."""
        return len(self.bounds) - 1

    def batches(self, seed: int, epoch: int, *, shuffle: bool, first: int = 0) -> Iterator[IntArray]:
        """The batches of one epoch from number `first` on, as numbers of examples of the dataset."""
        order, _ = filter_by_length(self._lengths, self._limits)
        numbers = np.arange(self.num_batches)
        if shuffle:
            order = _random(_Purpose.example_order, seed, epoch, self.first_example).permutation(order)
            numbers = _random(_Purpose.batch_order, seed, epoch, self.first_example).permutation(numbers)
        order = sort_by_length(self._lengths, order)
        for number in numbers[first:]:
            yield order[self.bounds[number] : self.bounds[number + 1]].astype(np.int64) + self.first_example


class Plan:
    """All batches of an epoch, by their global number.

    Attributes:
        num_batches: Of the epoch, all ranks together.
        num_examples: Examples in them.
        filtered: How many examples are left out, by reason.
    """

    def __init__(self, lengths: IntArray, options: IterationOptions, *, shard_size: int = SHARD_SIZE) -> None:
        limits = Limits.of(options)
        starts = range(0, len(lengths), shard_size)
        shards = [Shard(lengths[start : start + shard_size], limits, start) for start in starts]
        self._options = options
        self.num_batches = sum(shard.num_batches for shard in shards)
        self.num_examples = sum(shard.num_examples for shard in shards)
        self.filtered: dict[str, int] = {}
        for shard in shards:
            for reason, count in shard.filtered.items():
                self.filtered[reason] = self.filtered.get(reason, 0) + count
        if options.shuffle:
            order = _random(_Purpose.shard_order, options.seed, options.epoch).permutation(len(shards))
            shards = [shards[number] for number in order]
        self._shards = shards

    def batches(self, first: int = 0) -> Iterator[IntArray]:
        """The batches from global number `first` on; only one shard's are in memory at a time."""
        options = self._options
        for shard in self._shards:
            if first < shard.num_batches:
                yield from shard.batches(options.seed, options.epoch, shuffle=options.shuffle, first=first)
            first = max(0, first - shard.num_batches)


def _random(purpose: _Purpose, *numbers: int) -> np.random.Generator:
    """Random numbers that depend on these numbers and on nothing else."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(purpose), *numbers])))
