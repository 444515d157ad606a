"""The batching plan: which examples make which batch, as a pure function of lengths, limits, seed and epoch.

The examples of a shard are put in a random order, then sorted by source length and by target length, both sorts
stable, so that examples of equal lengths stay shuffled; the sorted row is cut into batches, and the batches are
shuffled. The cuts depend on the lengths alone, so an epoch has the same number of batches each time. A dataset of more
than `SHARD_SIZE` examples is planned shard by shard, which bounds the memory of a plan; the shards come in a random
order, and the next one is planned on a thread while the batches of this one are taken.

No length is ever a Python object: a shard is known by how many of its examples have which pair of lengths. The pairs,
some ten thousands, are what is cut; their numbers, 16 bits each, are what is sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from seqtrain.data.dataset import IterationOptions, Lengths
from seqtrain.data.random_streams import Purpose, random_stream
from seqtrain.data.tokens import IntArray

SHARD_SIZE = 8_000_000
Indices = npt.NDArray[np.uint32]
T = TypeVar("T")

_MAX_CELLS = 2**20  # of a table of all pairs of lengths; where more would be needed, those that occur are looked for


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


def filter_by_length(lengths: np.ndarray, limits: Limits) -> tuple[Indices, dict[str, int]]:
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
        reason = f"longer than max_tokens={limits.max_tokens}"
        rules += [(reason, source, limits.max_tokens), (reason, target, limits.max_tokens)]
    kept = np.arange(len(lengths), dtype=np.uint32)
    filtered: dict[str, int] = {}
    for reason, sizes, limit in rules:
        if sizes.max(initial=0) > limit:
            fits = sizes[kept] <= limit
            if count := int(np.count_nonzero(~fits)):
                filtered[reason] = filtered.get(reason, 0) + count
            kept = kept[fits]
    return kept, filtered


def rows_of(lengths: np.ndarray, kept: Indices) -> np.ndarray:
    """The lengths of the examples that are kept, (M, 2) of (N, 2), each column in a row as in the whole."""
    return lengths if len(kept) == len(lengths) else take_rows(lengths, kept)


def take_rows(lengths: np.ndarray, numbers: Indices) -> np.ndarray:
    """lengths[numbers], (N, 2) -> (M, 2), in a sixth of the time where each column lies in a row."""
    return np.stack([lengths[:, side].take(numbers) for side in range(2)]).T


class LengthClasses:
    """The pairs of lengths that occur among examples, ordered by source length, then target length.

    Attributes:
        sizes: (num_classes,) the longer side.
        counts: (num_classes,) how many examples there are of each.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        """Count the pairs.

        Args:
            lengths: (N, 2) source and target tokens.
        """
        width = int(lengths[:, 1].max(initial=0)) + 1
        num_cells = (int(lengths[:, 0].max(initial=0)) + 1) * width
        self._keys = lengths[:, 0].astype(np.int64)
        self._keys *= width
        self._keys += lengths[:, 1]
        self._num_cells = num_cells if num_cells <= max(_MAX_CELLS, len(lengths)) else None
        if self._num_cells is not None:
            counts = np.bincount(self._keys, minlength=1)
            self._pairs = np.flatnonzero(counts)
            self.counts: IntArray = counts[self._pairs]
        else:
            self._pairs, self.counts = np.unique(self._keys, return_counts=True)
        self.sizes: IntArray = np.maximum(self._pairs // width, self._pairs % width)

    def numbers(self) -> np.ndarray:
        """(N,) the class of each example."""
        dtype = np.uint16 if len(self._pairs) <= 2**16 else np.uint32
        if self._num_cells is None:
            return np.searchsorted(self._pairs, self._keys).astype(dtype)
        table = np.zeros(self._num_cells, dtype)
        table[self._pairs] = np.arange(len(self._pairs))
        return table[self._keys]


def sort_by_class(numbers: np.ndarray, order: Indices) -> Indices:
    """Sort examples by class, keeping the order of those of one class.

    Args:
        numbers: (N,) the class of each example, uint16 or uint32.
        order: Numbers of examples, in the order that ties keep.
    """
    for shift in range(0, 8 * numbers.itemsize, 16):  # numpy sorts 16-bit numbers by radix, in linear time
        keys = (numbers >> shift if shift else numbers).astype(np.uint16, copy=False)[order]
        order = order[np.argsort(keys, kind="stable")]
    return order


def cut(sizes: IntArray, counts: IntArray, limits: Limits) -> IntArray:
    """Cut a row of examples into batches, each as large as the limits allow.

    A batch of more than `multiple` sentences is shortened to a multiple of it; what is left begins the next batch. The
    time is that of a step for each batch that spans several runs, and for each run.

    Args:
        sizes: (num_runs,) tokens of each example of a run, none above `max_tokens`; 0 counts as 1.
        counts: (num_runs,) how many examples each run has, 1 at least.
        limits: Of a batch.

    Returns:
        (num_batches + 1,) bounds: batch b is bounds[b] ... bounds[b + 1] - 1.
    """
    row = _Row(sizes.tolist(), np.cumsum(counts).tolist(), limits)
    num_examples = row.ends[-1] if row.ends else 0
    run, start, bounds = 0, 0, [0]
    while start < num_examples:
        while row.ends[run] <= start:
            run += 1
        count = row.num_that_fit(run, start)
        if count > limits.multiple:
            count -= count % limits.multiple
        repeats = max(1, (row.ends[run] - start) // count)  # batches that lie in one run are all alike
        bounds.extend(range(start + count, start + repeats * count + 1, count))
        start += repeats * count
    return np.array(bounds, dtype=np.int64)


@dataclass(frozen=True)
class _Row:
    """Examples in runs of equal sizes: the size of each run, where it ends, and the limits of a batch."""

    sizes: list[int]
    ends: list[int]
    limits: Limits

    def num_that_fit(self, run: int, start: int) -> int:
        """How many examples a batch takes that begins with number `start`, in this run."""
        most, max_tokens = self.limits.max_sentences or self.ends[-1], self.limits.max_tokens
        longest, count = 1, 0
        for number in range(run, len(self.ends)):
            longest = max(longest, self.sizes[number])
            room = most if max_tokens is None else min(most, max_tokens // longest)
            available = self.ends[number] - start
            if room <= available:
                return max(count, room)
            count = available
        return count


class Shard:
    """A range of a dataset's examples: the bounds of its batches, which are the same in each epoch.

    Attributes:
        bounds: (num_batches + 1,) of the batches, in the sorted row of examples.
        filtered: How many examples are left out, by reason.
        num_examples: How many are left.
    """

    def __init__(self, lengths: Lengths, limits: Limits, examples: slice) -> None:
        """Cut a shard.

        Args:
            lengths: Of the whole dataset.
            limits: Of a batch.
            examples: The shard's.
        """
        self._lengths = lengths
        self._limits = limits
        self._examples = examples
        rows = lengths[examples]
        kept, self.filtered = filter_by_length(rows, limits)
        classes = LengthClasses(rows_of(rows, kept))
        self.num_examples = len(kept)
        self.bounds = cut(classes.sizes, classes.counts, limits)

    @property
    def num_batches(self) -> int:
        """The batches of the shard."""
        return len(self.bounds) - 1

    def order(self, seed: int, epoch: int, *, shuffle: bool) -> Indices:
        """(num_examples,) the sorted row of one epoch, as numbers in the shard."""
        rows = self._lengths[self._examples]
        kept, _ = filter_by_length(rows, self._limits)
        numbers = LengthClasses(rows_of(rows, kept)).numbers()
        del rows
        order = np.arange(len(kept), dtype=np.uint32)
        if shuffle:
            random_stream(Purpose.example_order, seed, epoch, self._examples.start).shuffle(order)
        order = sort_by_class(numbers, order)
        return kept[order] if self.filtered else order

    def batches(self, order: Indices, seed: int, epoch: int, *, shuffle: bool) -> Iterator[IntArray]:
        """The batches of one epoch, as numbers of examples of the dataset.

        Args:
            order: What `order` gives for this seed and epoch.
            seed: Of the random numbers.
            epoch: Counted from 1.
            shuffle: Whether the batches come in a random order.
        """
        numbers = np.arange(self.num_batches)
        if shuffle:
            numbers = random_stream(Purpose.batch_order, seed, epoch, self._examples.start).permutation(numbers)
        first_example = np.int64(self._examples.start)
        for number in numbers:
            yield order[self.bounds[number] : self.bounds[number + 1]] + first_example


class Plan:
    """All batches of an epoch, by their global number.

    Attributes:
        num_batches: Of the epoch, all ranks together.
        num_examples: Examples in them.
        filtered: How many examples are left out, by reason.
    """

    def __init__(self, lengths: Lengths, options: IterationOptions, *, shard_size: int = SHARD_SIZE) -> None:
        """Cut all shards; their examples are put in order when it is their turn.

        Args:
            lengths: (N, 2) source and target tokens; read one shard at a time.
            options: The limits, the seed and the epoch.
            shard_size: The most examples that are planned at once.
        """
        limits, num_examples = Limits.of(options), len(lengths)
        parts = [slice(start, min(start + shard_size, num_examples)) for start in range(0, num_examples, shard_size)]
        shards = [Shard(lengths, limits, part) for part in parts]
        self._options = options
        self.num_batches = sum(shard.num_batches for shard in shards)
        self.num_examples = sum(shard.num_examples for shard in shards)
        self.filtered: dict[str, int] = {}
        for shard in shards:
            for reason, count in shard.filtered.items():
                self.filtered[reason] = self.filtered.get(reason, 0) + count
        if options.shuffle:
            order = random_stream(Purpose.shard_order, options.seed, options.epoch).permutation(len(shards))
            shards = [shards[number] for number in order]
        self._shards = shards

    def batches(self, first: int = 0) -> Iterator[IntArray]:
        """The batches from global number `first` on; two shards' are in memory at a time, at most."""
        seed, epoch, shuffle = self._options.seed, self._options.epoch, self._options.shuffle
        ends = np.cumsum([shard.num_batches for shard in self._shards], dtype=np.int64)
        skipped = int(np.searchsorted(ends, first, side="right"))
        shards = self._shards[skipped:]
        first -= int(ends[skipped - 1]) if skipped else 0
        orders = _ahead(partial(shard.order, seed, epoch, shuffle=shuffle) for shard in shards)
        for shard, order in zip(shards, orders, strict=True):
            yield from islice(shard.batches(order, seed, epoch, shuffle=shuffle), first, None)
            first = 0


def _ahead(calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """The results of calls; while one is in use, the next is made on a thread."""
    with ThreadPoolExecutor(1, "seqtrain-plan") as executor:
        waiting: list[Future[T]] = []
        for call in calls:
            waiting.append(executor.submit(call))
            if len(waiting) > 1:
                yield waiting.pop(0).result()
        for last in waiting:
            yield last.result()
