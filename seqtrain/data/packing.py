"""The plan of packed batches: which examples stand in a row of tokens, as a pure function of lengths, seed and epoch.

A packed batch has no padding between its sentences, so their lengths need not be alike: the examples of a shard are put
in a random order, and that row is cut wherever the next example would not fit (next-fit). All batches of a dataset have
one shape, which a GPU's kernels and graphs are made for once. Its size follows from `max_tokens` and from the lengths
of all examples: the longer side of the corpus gets `max_tokens` rows, the other as many fewer as it has fewer tokens,
so that both are used up together.

Shapes: N examples.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqtrain.data.batching import SHARD_SIZE
from seqtrain.data.dataset import IterationOptions, Lengths
from seqtrain.data.lengths import WINDOW, Indices, KeptLengths, LengthTotals, Limits, take_rows
from seqtrain.data.random_streams import Purpose, random_stream, shuffled
from seqtrain.data.tokens import IntArray

__all__ = ["PackedPlan", "PackedShape", "SideShape", "attention_row_bounds", "cut_packed"]

_ROW_MULTIPLE = 64  # of the sizes that matrix products see
_SHORTEST_ATTENTION_ROW = 128  # the tile of attention kernels
_SPARE_ATTENTION_ROWS = 1.25  # next-fit leaves about a tenth of an attention row empty
_BLOCK = 2**14
_NUM_ORDERS = 4  # that a plan keeps from cutting to taking: 4 bytes an example
_DEVIATIONS = 4.0  # of the number of sentences above its mean, for which there is room


@dataclass(frozen=True)
class SideShape:
    """The sizes of one side, source or target.

    Attributes:
        num_rows: Rows of tokens, R; at least one stands for no token.
        num_columns: Tokens of the longest sentence of the corpus.
        row_length: Places of an attention row, L.
    """

    num_rows: int
    num_columns: int
    row_length: int

    @classmethod
    def of(cls, max_tokens: float, longest: int) -> SideShape:
        """The sizes for so many tokens, in sentences of so many at most."""
        num_rows = _round_up(max(max_tokens, longest + 1), _ROW_MULTIPLE)
        return cls(num_rows, longest, _round_up(max(longest, _SHORTEST_ATTENTION_ROW), _ROW_MULTIPLE))


@dataclass(frozen=True)
class PackedShape:
    """The sizes of every packed batch of a dataset.

    Attributes:
        source: Of the source side.
        target: Of the target side.
        num_sequences: Sentences, at most.
        num_attention_rows: Attention rows, A: in each stand a few sentences, their sources and their targets.
    """

    source: SideShape
    target: SideShape
    num_sequences: int
    num_attention_rows: int

    @classmethod
    def of(cls, totals: LengthTotals, max_tokens: int, max_sentences: int | None) -> PackedShape:
        """The shape for some examples, of which there is one at least.

        Args:
            totals: Of the examples.
            max_tokens: Tokens of the longer side.
            max_sentences: Sentences, at most; None for as many as have room.
        """
        source, target = (
            SideShape.of(max_tokens * total / max(totals.totals), longest)
            for total, longest in zip(totals.totals, totals.longest, strict=True)
        )
        expected = target.num_rows * totals.num_examples / totals.totals[1]
        num_sequences = math.ceil(expected + _DEVIATIONS * math.sqrt(expected))
        num_attention_rows = max(
            math.ceil(_SPARE_ATTENTION_ROWS * side.num_rows / side.row_length) for side in (source, target)
        )
        return cls(source, target, min(num_sequences, max_sentences or num_sequences), num_attention_rows)

    @property
    def num_segments(self) -> int:
        """The sentences, and pieces no longer than a sentence of the rows behind them that stand for no token."""
        sides = (self.source, self.target)
        return self.num_sequences + max(-(-side.num_rows // side.num_columns) for side in sides)


def cut_packed(lengths: np.ndarray, shape: PackedShape, order: Indices | None = None) -> IntArray:
    """Cut a row of examples into batches, each as large as the shape allows.

    Args:
        lengths: (M, 2) source and target tokens.
        shape: What they must fit into.
        order: (N,) which of the examples stand in the row, one after the other; None for all as they come.

    Returns:
        (num_batches + 1,) bounds: batch b is bounds[b] ... bounds[b + 1] - 1.
    """
    num_examples = len(lengths) if order is None else len(order)
    window = max(WINDOW, 2 * shape.num_sequences)
    bounds = [0]
    while bounds[-1] < num_examples:
        start = bounds[-1]
        stop = min(start + window, num_examples)
        rows = lengths[start:stop] if order is None else take_rows(lengths, order[start:stop])
        ends = _ends_of_batches(rows, shape)
        if stop < num_examples:
            ends.pop()  # the last batch might be longer, were the window longer
        bounds.extend(start + end for end in ends)
    return np.array(bounds, dtype=np.int64)


def _ends_of_batches(lengths: np.ndarray, shape: PackedShape) -> list[int]:
    """Where the batches of a row end, (N, 2) source and target tokens; see `cut_packed`."""
    row, start, ends = _Row(lengths), 0, list[int]()
    room = shape.source.num_rows - 1, shape.target.num_rows - 1
    attention_row_ends = _attention_row_ends(row.offsets, shape).data
    while start < row.num_examples:
        end, stop = row.end(start, min(start + shape.num_sequences, row.num_examples), room), start
        for _ in range(shape.num_attention_rows):
            stop = min(attention_row_ends[stop], end)
            if stop == end:
                break
        start = stop
        ends.append(start)
    return ends


def attention_row_bounds(offsets: tuple[IntArray, IntArray], shape: PackedShape) -> IntArray:
    """The sentences of the attention rows of a batch.

    Args:
        offsets: (B + 1,) the source tokens before each sentence, and of all; and the target tokens.
        shape: Of the batch, which `cut_packed` has cut.

    Returns:
        (A + 1,): attention row a has the sentences bounds[a] ... bounds[a + 1] - 1; the last ones may have none.
    """
    ends, bounds = _attention_row_ends(offsets, shape).tolist(), [0]
    while bounds[-1] < len(ends):
        bounds.append(ends[bounds[-1]])
    num_unused = shape.num_attention_rows + 1 - len(bounds)
    assert num_unused >= 0, "the plan has cut the batch so that it fits"
    return np.array(bounds + num_unused * [len(ends)], dtype=np.int64)


def _attention_row_ends(offsets: tuple[IntArray, IntArray], shape: PackedShape) -> np.ndarray:
    """(N,) int32: where the attention row would end that begins with each of N examples.

    They are looked for in blocks that the processor's cache holds, with as many examples behind each as a row has
    places; of empty sentences there are more in a row that are not seen, which does no harm.
    """
    num_examples = len(offsets[0]) - 1
    ends = np.empty(num_examples, dtype=np.int32)
    rooms = shape.source.row_length, shape.target.row_length
    for start in range(0, num_examples, _BLOCK):
        stop = min(start + _BLOCK, num_examples)
        source, target = (
            side[start : stop + room + 1].searchsorted(side[start:stop] + room, side="right")
            for side, room in zip(offsets, rooms, strict=True)
        )
        np.add(np.minimum(source, target), start - 1, out=ends[start:stop], casting="same_kind")
    return ends


class _Row:
    """Examples in a row, and how many of them fit.

    Attributes:
        num_examples: N.
        offsets: (N + 1,) the source tokens before each example, and of all; and the target tokens.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        """Add the lengths up.

        Args:
            lengths: (N, 2) source and target tokens.
        """
        self.num_examples = len(lengths)
        source, target = np.zeros((2, len(lengths) + 1), dtype=np.int64)
        np.cumsum(lengths[:, 0], dtype=np.int64, out=source[1:])
        np.cumsum(lengths[:, 1], dtype=np.int64, out=target[1:])
        self.offsets = source, target
        self._source, self._target = source.data, target.data

    def end(self, start: int, stop: int, room: tuple[int, int]) -> int:
        """The example behind the last that fits, with all from `start` on.

        Args:
            start: The first example.
            stop: Where to end at the latest.
            room: Source and target tokens.
        """
        source, target = self._source, self._target
        stop = bisect_right(source, source[start] + room[0], start, stop + 1) - 1
        return bisect_right(target, target[start] + room[1], start, stop + 1) - 1


class PackedPlan:
    """All packed batches of an epoch, by their global number; see `seqtrain.data.batching.Plan`.

    Attributes:
        num_batches: Of the epoch, all ranks together. Another epoch may have a few more or fewer.
        num_examples: Examples in them.
        filtered: How many examples are left out, by reason.
        shape: Of every batch; None where no example is left.
    """

    def __init__(self, lengths: Lengths, options: IterationOptions, *, shard_size: int = SHARD_SIZE) -> None:
        """Cut the epoch, one shard after the other.

        Args:
            lengths: (N, 2) source and target tokens; read one shard at a time.
            options: The limits, the seed and the epoch.
            shard_size: The most examples that are planned at once.
        """
        self._lengths = lengths
        self._options = options
        self._limits = Limits.of(options)
        self._shard_size = shard_size
        starts = np.arange(0, len(lengths), shard_size)
        parts = [range(start, min(start + shard_size, len(lengths))) for start in starts.tolist()]
        self._kept = {part.start: KeptLengths(lengths, self._limits, part) for part in parts}
        self.filtered, self.shape = self._survey()
        if options.shuffle:
            starts = random_stream(Purpose.shard_order, options.seed, options.epoch).permutation(starts)
        self._orders: dict[int, Indices] = {}  # of the first shards, which is the dearest part of a plan
        self._bounds = {start: self._cut(start) for start in starts.tolist()}
        self.num_examples = sum(int(bounds[-1]) for bounds in self._bounds.values())
        self.num_batches = sum(len(bounds) - 1 for bounds in self._bounds.values())

    def batches(self, first: int = 0) -> Iterator[IntArray]:
        """The batches from global number `first` on, as numbers of examples of the dataset."""
        for start, bounds in self._bounds.items():
            num_batches = len(bounds) - 1
            if first < num_batches:
                order = self._orders.pop(start, None)
                if order is None:
                    order = self._order(start)
                for number in range(first, num_batches):
                    yield order[bounds[number] : bounds[number + 1]] + np.int64(start)
            first = max(0, first - num_batches)

    def _survey(self) -> tuple[dict[str, int], PackedShape | None]:
        """What is left out of all shards, and the shape of what is left."""
        max_tokens, totals, filtered = self._limits.max_tokens, LengthTotals(), Counter[str]()
        assert max_tokens is not None, "batching.form=packed is refused without a batching.max_tokens"
        for kept in self._kept.values():
            totals += kept.totals
            filtered.update(kept.filtered)
        shape = PackedShape.of(totals, max_tokens, self._limits.max_sentences) if totals.num_examples else None
        return dict(filtered), shape

    def _order(self, start: int) -> Indices:
        """The examples of a shard in the order of this epoch, as numbers in the shard.

        Args:
            start: The shard's first example.
        """
        order = self._kept[start].numbers()
        if self._options.shuffle:
            stream = random_stream(Purpose.example_order, self._options.seed, self._options.epoch, start)
            order = shuffled(order, stream)
        return order

    def _cut(self, start: int) -> IntArray:
        order = self._order(start)
        if len(self._orders) < _NUM_ORDERS:
            self._orders[start] = order
        lengths = self._lengths[start : start + self._shard_size]
        return np.zeros(1, dtype=np.int64) if self.shape is None else cut_packed(lengths, self.shape, order)


def _round_up(number: float, multiple: int) -> int:
    return math.ceil(number / multiple) * multiple
