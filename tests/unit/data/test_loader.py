"""Batches dealt to ranks and made on a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from seqtrain.config.root import BatchingConfig
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.loader import BatchIterator, Prefetcher
from seqtrain.data.pairs import PairDataset
from seqtrain.errors import DataError


def dataset(num_pairs: int = 23) -> PairDataset:
    lengths = np.random.default_rng(3).integers(1, 6, num_pairs)
    return PairDataset.from_lists([[9] * (length - 1) + [2] for length in lengths], [[8, 2]] * num_pairs)


def options(
    *, update_freq: int = 1, rank: int = 0, world_size: int = 1, first_batch: int = 0, num_prefetch: int = 2
) -> IterationOptions:
    return IterationOptions(
        batching=BatchingConfig(max_tokens=10, required_batch_size_multiple=1, num_prefetch=num_prefetch),
        max_positions=(99, 99),
        update_freq=update_freq,
        rank=rank,
        world_size=world_size,
        first_batch=first_batch,
    )


def ids(updates: Iterator[list[Batch]]) -> list[list[list[int]]]:
    return [[batch.ids.tolist() for batch in update] for update in updates]


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "seqtrain-prefetch"]


@pytest.mark.parametrize("num_prefetch", [0, 1, 100])
def test_an_update_is_a_list_of_batches(num_prefetch: int) -> None:
    plain = ids(iter(BatchIterator(dataset(), options(num_prefetch=0))))
    iterator = BatchIterator(dataset(), options(update_freq=3, num_prefetch=num_prefetch))
    updates = ids(iter(iterator))
    assert [batch for update in updates for batch in update] == [update[0] for update in plain]
    assert [len(update) for update in updates[:-1]] == [3] * (len(updates) - 1)
    assert len(updates) == iterator.num_updates == -(-iterator.num_batches // 3)
    assert iterator.num_examples == 23


@pytest.mark.parametrize(("world_size", "update_freq"), [(2, 1), (2, 2), (3, 2), (5, 3)])
def test_batches_are_dealt_in_turn(world_size: int, update_freq: int) -> None:
    plain = [update[0] for update in ids(iter(BatchIterator(dataset(), options())))]
    ranks = [
        ids(iter(BatchIterator(dataset(), options(rank=rank, world_size=world_size, update_freq=update_freq))))
        for rank in range(world_size)
    ]
    assert len({len(updates) for updates in ranks}) == 1  # all ranks make as many updates
    per_update = world_size * update_freq
    for number, batch in enumerate(plain):
        update, place = divmod(number, per_update)
        assert ranks[place % world_size][update][place // world_size] == batch


@pytest.mark.parametrize(("world_size", "update_freq"), [(2, 1), (2, 2), (3, 2), (5, 3)])
def test_ranks_without_a_share_in_the_last_update_get_fillers(world_size: int, update_freq: int) -> None:
    iterators = [
        BatchIterator(dataset(), options(rank=rank, world_size=world_size, update_freq=update_freq))
        for rank in range(world_size)
    ]
    ranks = [[[batch.is_filler for batch in batches] for batches in iterator] for iterator in iterators]
    *whole, last = zip(*ranks, strict=True)
    assert not any(is_filler for update in whole for batches in update for is_filler in batches)
    per_update = world_size * update_freq
    rest = (iterators[0].num_batches - 1) % per_update + 1
    most = -(-rest // world_size)
    assert [batches.count(False) for batches in last] == [
        len(range(rank, rest, world_size)) for rank in range(world_size)
    ]
    assert [len(batches) for batches in last] == [most] * world_size


def test_iteration_goes_on_from_any_update() -> None:
    whole = ids(iter(BatchIterator(dataset(), options(update_freq=2))))
    resumed = ids(iter(BatchIterator(dataset(), options(update_freq=2, first_batch=6))))
    assert resumed == whole[3:]


def test_an_iterator_can_be_used_again() -> None:
    iterator = BatchIterator(dataset(), options())
    assert ids(iter(iterator)) == ids(iter(iterator))


def test_too_long_examples_are_counted() -> None:
    sources = [[9, 2], [9] * 20, [9, 9, 2]]
    iterator = BatchIterator(PairDataset.from_lists(sources, [[8, 2]] * 3), options())
    assert iterator.filtered == {"longer than max_tokens=10": 1}
    assert sorted(example for update in ids(iter(iterator)) for batch in update for example in batch) == [0, 2]


def test_close_ends_the_thread_in_the_middle() -> None:
    iterator = BatchIterator(dataset(), options())
    next(iter(iterator))
    iterator.close()
    iterator.close()
    assert prefetch_threads() == []


def test_leaving_a_loop_ends_the_thread() -> None:
    for _ in BatchIterator(dataset(), options()):
        break
    assert prefetch_threads() == []


def test_an_exception_of_the_thread_comes_up_in_the_consumer() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise DataError("broken")

    prefetcher = Prefetcher(items, 4)
    received: list[int] = []
    with pytest.raises(DataError, match="broken"):
        received.extend(prefetcher)
    prefetcher.close()
    assert prefetch_threads() == []


def test_a_thread_does_not_run_further_ahead_than_it_may() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    prefetcher = Prefetcher(items, 2)
    iterator = iter(prefetcher)
    assert [next(iterator) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(made) <= 9
    prefetcher.close()
    assert len(made) < 100
