"""The plan of packed batches."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from seqtrain.config.root import TrainBatchingConfig
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.lengths import LengthTotals
from seqtrain.data.loader import BatchIterator
from seqtrain.data.packing import PackedPlan, PackedShape, SideShape, attention_row_bounds, cut_packed
from seqtrain.data.pairs import PairDataset
from seqtrain.data.tokens import IntArray


def lengths(num_examples: int = 3000, seed: int = 1) -> IntArray:
    """Sources of 1 to 30 tokens, targets of about two thirds of that."""
    generator = np.random.default_rng(seed)
    source = generator.integers(1, 31, num_examples)
    target = np.maximum(1, source * 2 // 3 + generator.integers(-2, 3, num_examples))
    return np.stack([source, target], axis=1)


def options(*, max_tokens: int = 1000, max_sentences: int | None = None, **others: Any) -> IterationOptions:
    batching = TrainBatchingConfig(max_tokens=max_tokens, max_sentences=max_sentences)
    return IterationOptions(batching=batching, max_positions=(28, 99), packed=True, **others)


def tiny_shape(**changes: Any) -> PackedShape:
    """Room for 9 source tokens and 9 target tokens, in attention rows of 6 and 6."""
    side = SideShape(num_rows=10, num_columns=5, row_length=6)
    return replace(PackedShape(side, side, num_sequences=4, num_attention_rows=3), **changes)


def row_bounds(rows: IntArray, shape: PackedShape) -> IntArray:
    source, target = np.cumsum(np.concatenate([np.zeros((1, 2), np.int64), rows]), axis=0).T
    return attention_row_bounds((source, target), shape)


def fits(rows: IntArray, shape: PackedShape) -> bool:
    source, target = rows.sum(axis=0)
    bounds = row_bounds(rows, shape)
    totals = [rows[start:end].sum(axis=0) for start, end in pairwise(bounds)]
    return (
        source < shape.source.num_rows
        and target < shape.target.num_rows
        and len(rows) <= shape.num_sequences
        and all(total[0] <= shape.source.row_length and total[1] <= shape.target.row_length for total in totals)
    )


def test_a_batch_ends_where_a_side_is_full() -> None:
    assert cut_packed(np.array([[4, 1], [5, 1], [1, 1], [1, 5], [1, 4]]), tiny_shape()).tolist() == [0, 2, 4, 5]


def test_a_batch_ends_with_its_number_of_sentences() -> None:
    assert cut_packed(np.ones((10, 2), dtype=np.int64), tiny_shape()).tolist() == [0, 4, 8, 10]


def test_a_batch_ends_with_its_attention_rows() -> None:
    rows = np.array([[4, 1], [3, 1], [1, 1]])
    assert cut_packed(rows, tiny_shape()).tolist() == [0, 3]
    assert cut_packed(rows, tiny_shape(num_attention_rows=1)).tolist() == [0, 1, 3]


def written_out(rows: IntArray, shape: PackedShape) -> list[int]:
    """The bounds of batches, with a step for each example."""
    bounds, tokens, in_row, num_rows = [0], np.zeros(2), np.zeros(2), 1
    room = np.array([shape.source.num_rows - 1, shape.target.num_rows - 1])
    row_room = np.array([shape.source.row_length, shape.target.row_length])
    for number, example in enumerate(rows):
        begins_row = bool((in_row + example > row_room).any())
        is_full = (tokens + example > room).any() or number - bounds[-1] == shape.num_sequences
        if is_full or num_rows + begins_row > shape.num_attention_rows:
            bounds.append(number)
            tokens, in_row, num_rows, begins_row = np.zeros(2), np.zeros(2), 1, False
        tokens, num_rows = tokens + example, num_rows + begins_row
        in_row = example if begins_row else in_row + example
    return [*bounds, len(rows)]


@pytest.mark.parametrize("window", [5, 1000, 2**18])
@pytest.mark.parametrize("num_attention_rows", [8, 11, 20])
def test_batches_are_those_of_a_loop_over_the_examples(
    num_attention_rows: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqtrain.data.packing.WINDOW", window)
    rows = lengths(40_000)
    shape = PackedShape.of(LengthTotals().with_lengths(rows), max_tokens=1000, max_sentences=60)
    shape = replace(shape, num_attention_rows=num_attention_rows)
    order = np.random.default_rng(2).permutation(len(rows)).astype(np.uint32)
    assert cut_packed(rows, shape).tolist() == written_out(rows, shape)
    assert cut_packed(rows, shape, order).tolist() == written_out(rows[order], shape)


def test_sentences_share_an_attention_row_while_both_sides_fit() -> None:
    rows = np.array([[4, 1], [2, 5], [1, 1], [1, 1]])
    assert row_bounds(rows, tiny_shape()).tolist() == [0, 2, 4, 4]


def test_the_shape_follows_from_the_lengths() -> None:
    totals = LengthTotals(num_examples=3, totals=(200, 100), longest=(140, 70))
    shape = PackedShape.of(totals, max_tokens=1000, max_sentences=None)
    assert shape.source == SideShape(num_rows=1024, num_columns=140, row_length=192)
    assert shape.target == SideShape(num_rows=512, num_columns=70, row_length=128)
    assert shape.num_sequences == 32  # 512 rows for targets of 100 / 3 tokens: 15.4, and 4 times the root of it
    assert shape.num_attention_rows == 7  # of 192 places each: 5.3 for 1024 rows, and a quarter more
    assert PackedShape.of(totals, max_tokens=1000, max_sentences=9).num_sequences == 9


def test_the_longest_sentence_has_room_and_a_row_is_left() -> None:
    shape = PackedShape.of(LengthTotals().with_lengths(np.array([[64, 8]])), max_tokens=64, max_sentences=None)
    assert shape.source.num_rows == 128


def test_every_example_that_is_short_enough_is_in_one_batch_that_fits() -> None:
    table = lengths()
    plan = PackedPlan(table, options())
    batches = list(plan.batches())
    assert plan.shape is not None
    assert sorted(np.concatenate(batches)) == np.flatnonzero(table[:, 0] <= 28).tolist()
    assert len(batches) == plan.num_batches
    assert plan.num_examples == np.count_nonzero(table[:, 0] <= 28)
    assert plan.filtered == {"source longer than 28 tokens": np.count_nonzero(table[:, 0] > 28)}
    assert all(fits(table[batch], plan.shape) for batch in batches)


def test_few_rows_stand_for_no_token() -> None:
    table = lengths(20_000)
    plan = PackedPlan(table, options(max_tokens=4096))
    assert plan.shape is not None
    tokens = np.array([table[batch].sum(axis=0) for batch in plan.batches()])[:-1].mean(axis=0)
    assert tokens[0] > 0.97 * plan.shape.source.num_rows
    assert tokens[1] > 0.96 * plan.shape.target.num_rows  # which is rounded up to a multiple of 64


def test_an_epoch_depends_on_its_seed_and_number_alone() -> None:
    def flat(**others: Any) -> list[int]:
        return [int(number) for batch in PackedPlan(lengths(), options(**others)).batches() for number in batch]

    assert flat() == flat()
    assert flat() != flat(epoch=2)
    assert flat() != flat(seed=2)
    assert flat(shuffle=False) == sorted(flat())


@pytest.mark.parametrize("shard_size", [3000, 700])
def test_an_epoch_goes_on_from_any_batch(shard_size: int) -> None:
    plan = PackedPlan(lengths(), options(), shard_size=shard_size)
    whole = [batch.tolist() for batch in plan.batches()]
    for first in (0, 1, len(whole) // 2, len(whole) - 1, len(whole)):
        assert [batch.tolist() for batch in plan.batches(first)] == whole[first:]


def test_shards_share_one_shape() -> None:
    whole, parts = PackedPlan(lengths(), options()), PackedPlan(lengths(), options(), shard_size=700)
    assert whole.shape == parts.shape
    assert sorted(np.concatenate(list(parts.batches()))) == sorted(np.concatenate(list(whole.batches())))


def test_a_dataset_without_short_examples_has_no_batches() -> None:
    plan = PackedPlan(np.array([[50, 3]]), options())
    assert (plan.num_batches, plan.num_examples, list(plan.batches())) == (0, 0, [])


@pytest.mark.parametrize("world_size", [2, 3])
def test_batches_do_not_depend_on_the_number_of_ranks(world_size: int) -> None:
    table = lengths(400)
    dataset = PairDataset.from_lists([[7] * source for source, _ in table], [[8] * target for _, target in table])
    alone = [update[0].ids.tolist() for update in BatchIterator(dataset, options())]
    ranks = [
        [
            batch.ids.tolist()
            for update in BatchIterator(dataset, options(rank=rank, world_size=world_size))
            for batch in update
            if not batch.is_filler
        ]
        for rank in range(world_size)
    ]
    dealt = [ranks[number % world_size][number // world_size] for number in range(len(alone))]
    assert dealt == alone
