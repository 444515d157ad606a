"""The batching plan."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.config.root import BatchingConfig
from seqtrain.data.batching import LengthClasses, Plan, cut, sort_by_class
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.lengths import KeptLengths, Limits

LENGTHS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), max_size=40)


def options(
    *,
    max_tokens: int | None = 40,
    max_sentences: int | None = None,
    multiple: int = 1,
    max_positions: tuple[int, int] = (99, 99),
    seed: int = 1,
    epoch: int = 1,
    shuffle: bool = True,
) -> IterationOptions:
    batching = BatchingConfig(max_tokens=max_tokens, max_sentences=max_sentences, required_batch_size_multiple=multiple)
    return IterationOptions(batching=batching, max_positions=max_positions, seed=seed, epoch=epoch, shuffle=shuffle)


def array(lengths: list[tuple[int, int]]) -> np.ndarray:
    return np.array(lengths, dtype=np.int64).reshape(-1, 2)


def batches_of(plan: Plan, first: int = 0) -> list[list[int]]:
    return [batch.tolist() for batch in plan.batches(first)]


def cut_by_loop(sizes: list[int], limits: Limits) -> list[int]:
    """The bounds by the definition: grow while it fits, then shorten to a multiple. What is empty counts as a token."""
    bounds = [0]
    while bounds[-1] < len(sizes):
        start = end = bounds[-1]
        while (
            end < len(sizes)
            and (limits.max_tokens is None or max(1, *sizes[start : end + 1]) * (end + 1 - start) <= limits.max_tokens)
            and (limits.max_sentences is None or end + 1 - start <= limits.max_sentences)
        ):
            end += 1
        count = end - start
        if count > limits.multiple:
            count -= count % limits.multiple
        bounds.append(start + count)
    return bounds


@settings(max_examples=300, deadline=None)
@given(
    runs=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 30)), max_size=12),
    max_tokens=st.none() | st.integers(20, 90),
    max_sentences=st.none() | st.integers(1, 12),
    multiple=st.sampled_from([1, 2, 3, 8]),
)
def test_a_row_is_cut_as_by_a_plain_loop(
    runs: list[tuple[int, int]], max_tokens: int | None, max_sentences: int | None, multiple: int
) -> None:
    limits = Limits(max_tokens, max_sentences, multiple, 99, 99)
    sizes, counts = np.array(runs, dtype=np.int64).reshape(-1, 2).T
    assert cut(sizes, counts, limits).tolist() == cut_by_loop(np.repeat(sizes, counts).tolist(), limits)


def classes_of(lengths: np.ndarray) -> LengthClasses:
    return LengthClasses(KeptLengths(lengths, Limits(None, 1, 1, 10**6, 10**6), range(len(lengths))))


def sort(lengths: np.ndarray, order: list[int]) -> list[int]:
    found: list[int] = sort_by_class(classes_of(lengths).numbers(), np.array(order, dtype=np.uint32)).tolist()
    return found


def test_examples_are_sorted_by_source_then_target_and_ties_keep_their_order() -> None:
    lengths = array([(3, 1), (1, 5), (3, 1), (1, 2), (2, 2)])
    assert sort(lengths, [2, 0, 1, 3, 4]) == [3, 1, 4, 2, 0]


def test_lengths_beyond_16_bits_are_sorted() -> None:
    lengths = array([(70_000, 1), (65_536, 1), (65_535, 1), (1, 70_000)])
    assert sort(lengths, [0, 1, 2, 3]) == [3, 2, 1, 0]


def test_more_pairs_of_lengths_than_16_bits_can_number_are_sorted() -> None:
    generator = np.random.default_rng(1)
    lengths = generator.integers(1, 700, (150_000, 2))
    order = generator.permutation(len(lengths))
    classes = classes_of(lengths)
    assert len(classes.counts) > 2**16
    assert sort(lengths, order.tolist()) == order[np.lexsort(lengths[order].T[::-1])].tolist()


@settings(max_examples=100, deadline=None)
@given(lengths=LENGTHS, factor=st.sampled_from([1, 7_000]), window=st.sampled_from([5, 2**18]))
def test_classes_count_the_pairs_of_lengths_in_their_order(
    lengths: list[tuple[int, int]], factor: int, window: int
) -> None:
    table = array(lengths) * factor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqtrain.data.lengths.WINDOW", window)
        classes = classes_of(table)
        found = classes.numbers().tolist()
    pairs, numbers, counts = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    assert classes.sizes.tolist() == pairs.max(axis=1, initial=0).tolist()
    assert classes.counts.tolist() == counts.tolist()
    assert found == numbers.reshape(-1).tolist()


@settings(max_examples=100, deadline=None)
@given(
    lengths=LENGTHS,
    shuffle=st.booleans(),
    multiple=st.sampled_from([1, 8]),
    shard_size=st.sampled_from([3, 100]),
)
def test_every_example_that_fits_is_in_one_batch(
    lengths: list[tuple[int, int]], shuffle: bool, multiple: int, shard_size: int
) -> None:
    plan = Plan(
        array(lengths), options(multiple=multiple, max_positions=(10, 10), shuffle=shuffle), shard_size=shard_size
    )
    batches = batches_of(plan)
    fitting = [number for number, sides in enumerate(lengths) if max(sides) <= 10]
    assert sorted(example for batch in batches for example in batch) == fitting
    assert plan.num_examples == len(fitting)
    assert plan.num_batches == len(batches)
    assert sum(plan.filtered.values()) == len(lengths) - len(fitting)
    for batch in batches:
        assert max(max(lengths[example]) for example in batch) * len(batch) <= 40
        assert len(batch) < multiple or len(batch) % multiple == 0


@settings(max_examples=50, deadline=None)
@given(lengths=LENGTHS, first=st.integers(0, 12), shard_size=st.sampled_from([5, 100]))
def test_a_plan_goes_on_from_any_batch(lengths: list[tuple[int, int]], first: int, shard_size: int) -> None:
    plan = Plan(array(lengths), options(), shard_size=shard_size)
    assert batches_of(plan, first) == batches_of(plan)[first:]


@pytest.fixture
def lengths() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 6, (500, 2))


def test_a_plan_is_a_function_of_seed_and_epoch(lengths: np.ndarray) -> None:
    assert batches_of(Plan(lengths, options())) == batches_of(Plan(lengths, options()))
    plans = [Plan(lengths, options(seed=seed, epoch=epoch)) for seed, epoch in ((1, 1), (1, 2), (2, 1), (2, 2))]
    assert len({str(batches_of(plan)) for plan in plans}) == 4
    assert len({plan.num_batches for plan in plans}) == 1


def test_without_shuffling_the_shortest_come_first_and_every_epoch_is_the_same(lengths: np.ndarray) -> None:
    plan = Plan(lengths, options(shuffle=False))
    order = [example for batch in batches_of(plan) for example in batch]
    assert order == sorted(range(500), key=lambda number: (*lengths[number], number))
    assert batches_of(Plan(lengths, options(shuffle=False, epoch=2, seed=5))) == batches_of(plan)


def test_examples_of_equal_lengths_change_places_from_epoch_to_epoch() -> None:
    lengths = np.full((64, 2), 5)
    first, second = (batches_of(Plan(lengths, options(epoch=epoch))) for epoch in (1, 2))
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}


def random_numbers(purpose: int, seed: int, epoch: int, first: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([purpose, seed, epoch, first])))


@settings(max_examples=100, deadline=None)
@given(lengths=LENGTHS, seed=st.integers(0, 3), epoch=st.integers(1, 3), factor=st.sampled_from([1, 7_000]))
def test_a_plan_is_what_its_definition_says(lengths: list[tuple[int, int]], seed: int, epoch: int, factor: int) -> None:
    """Permute, sort by target and by source, cut, permute the batches: one example after the other."""
    table = array(lengths) * factor
    fitting = np.flatnonzero(table.max(axis=1, initial=0) <= 10 * factor)
    row = random_numbers(2, seed, epoch, 0).permutation(fitting).tolist()
    row.sort(key=lambda example: tuple(table[example]))
    limits = Limits(40 * factor, None, 2, 10 * factor, 10 * factor)
    bounds = cut_by_loop([int(table[example].max()) for example in row], limits)
    batches = [row[start:end] for start, end in pairwise(bounds)]
    expected = [batches[number] for number in random_numbers(3, seed, epoch, 0).permutation(len(batches))]
    max_positions = (10 * factor, 10 * factor)
    plan = Plan(table, options(max_tokens=40 * factor, multiple=2, max_positions=max_positions, seed=seed, epoch=epoch))
    assert batches_of(plan) == expected


def test_a_plan_reads_one_shard_of_lengths_at_a_time(lengths: np.ndarray) -> None:
    class Slices:
        """What a dataset of files gives."""

        def __len__(self) -> int:
            return len(lengths)

        def __getitem__(self, examples: slice) -> np.ndarray:
            assert examples.stop - examples.start <= 60
            return lengths[examples].astype(np.int32)

    plan = Plan(Slices(), options(), shard_size=60)
    assert batches_of(plan) == batches_of(Plan(lengths, options(), shard_size=60))


def test_a_plan_that_is_left_early_leaves_no_thread(lengths: np.ndarray) -> None:
    batches = Plan(lengths, options(), shard_size=50).batches()
    next(batches)
    del batches
    assert [thread for thread in threading.enumerate() if thread.name.startswith("seqtrain-plan")] == []


def test_shards_come_in_another_order_each_epoch_and_are_planned_apart(lengths: np.ndarray) -> None:
    def shard_order(epoch: int) -> list[int]:
        shards = [batch[0] // 50 for batch in batches_of(Plan(lengths, options(epoch=epoch), shard_size=50))]
        return [shard for number, shard in enumerate(shards) if number == 0 or shard != shards[number - 1]]

    orders = [shard_order(epoch) for epoch in (1, 2, 3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_a_dataset_of_nothing_has_no_batches() -> None:
    plan = Plan(np.zeros((0, 2), dtype=np.int64), options())
    assert (plan.num_batches, plan.num_examples, batches_of(plan)) == (0, 0, [])
