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

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np

from seqtrain.data.dataset import IterationOptions, Lengths
from seqtrain.data.lengths import Indices, KeptLengths, Limits
from seqtrain.data.random_streams import Purpose, random_stream, shuffled
from seqtrain.data.tokens import IntArray

SHARD_SIZE = 4_000_000
T = TypeVar("T")

_MAX_CELLS = 2**21  # of a table of all pairs of lengths; where more would be needed, those that occur are looked for


class LengthClasses:
    """The pairs of lengths that occur among examples, ordered by source length, then target length.

    Attributes:
        sizes: (num_classes,) the longer side.
        counts: (num_classes,) how many examples there are of each.
    """

    def __init__(self, lengths: KeptLengths) -> None:
        """Count the pairs."""
        self._lengths = lengths
        longest_source, longest_target = lengths.totals.longest
        self._width = longest_target + 1
        num_cells = (longest_source + 1) * self._width
        self._num_cells = num_cells if num_cells <= _MAX_CELLS else None
        self._pairs, self.counts = self._count_in_table(num_cells) if self._num_cells else self._count_in_sorts()
        self.sizes: IntArray = np.maximum(self._pairs // self._width, self._pairs % self._width)

    def numbers(self) -> np.ndarray:
        """(M,) the class of each example."""
        found = np.empty(self._lengths.totals.num_examples, np.uint16 if len(self._pairs) <= 2**16 else np.uint32)
        table = None
        if self._num_cells is not None:
            table = np.zeros(self._num_cells, found.dtype)
            table[self._pairs] = np.arange(len(self._pairs))
        start = 0
        for keys in self._keys():
            classes = self._pairs.searchsorted(keys) if table is None else table[keys]
            found[start : start + len(keys)] = classes
            start += len(keys)
        return found

    def _keys(self) -> Iterator[IntArray]:
        """A number for each pair of lengths, in windows."""
        for lengths in self._lengths:
            keys = lengths[:, 0].astype(np.int64)
            keys *= self._width
            keys += lengths[:, 1]
            yield keys

    def _count_in_table(self, num_cells: int) -> tuple[IntArray, IntArray]:
        counts = np.zeros(num_cells, dtype=np.int64)
        for keys in self._keys():
            counts += np.bincount(keys, minlength=num_cells)
        pairs = np.flatnonzero(counts)
        return pairs, counts[pairs]

    def _count_in_sorts(self) -> tuple[IntArray, IntArray]:
        found = [np.unique(keys, return_counts=True) for keys in self._keys()]
        pairs, places = np.unique(np.concatenate([keys for keys, _ in found]), return_inverse=True)
        counts = np.zeros(len(pairs), dtype=np.int64)
        np.add.at(counts, places, np.concatenate([some for _, some in found]))
        return pairs, counts


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

    def __init__(self, lengths: Lengths, limits: Limits, examples: range) -> None:
        """Cut a shard.

        Args:
            lengths: Of the whole dataset.
            limits: Of a batch.
            examples: The shard's.
        """
        self._first = examples.start
        self._lengths = KeptLengths(lengths, limits, examples)
        self.filtered = self._lengths.filtered
        self.num_examples = self._lengths.totals.num_examples
        classes = LengthClasses(self._lengths)
        self.bounds = cut(classes.sizes, classes.counts, limits)

    @property
    def num_batches(self) -> int:
        """The batches of the shard."""
        return len(self.bounds) - 1

    def order(self, seed: int, epoch: int, *, shuffle: bool) -> Indices:
        """(num_examples,) the sorted row of one epoch, as numbers in the shard."""
        order = np.arange(self.num_examples, dtype=np.uint32)
        if shuffle:
            order = shuffled(order, random_stream(Purpose.example_order, seed, epoch, self._first))
        order = sort_by_class(LengthClasses(self._lengths).numbers(), order)
        return self._lengths.numbers()[order] if self.filtered else order

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
            numbers = random_stream(Purpose.batch_order, seed, epoch, self._first).permutation(numbers)
        first_example = np.int64(self._first)
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
        parts = [range(start, min(start + shard_size, num_examples)) for start in range(0, num_examples, shard_size)]
        shards = [Shard(lengths, limits, part) for part in parts]
        self._options = options
        self.num_batches = sum(shard.num_batches for shard in shards)
        self.num_examples = sum(shard.num_examples for shard in shards)
        filtered = Counter[str]()
        for shard in shards:
            filtered.update(shard.filtered)
        self.filtered = dict(filtered)
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
