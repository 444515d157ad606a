"""Batches arrive in their order, those of a GPU two updates before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from seqtrain.config.root import TrainBatchingConfig, TrainConfig
from seqtrain.data.batch import Batch
from seqtrain.errors import TrainingError
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.delivery import Courier, ahead
from seqtrain.training.memory import explaining_out_of_memory
from tests.unit.training.traced import make_batch, packed_batches

TASK = TinyTask(num_letters=20)
CPU = torch.device("cpu")


class TooLarge(Batch):
    """A batch for which a device has no room."""

    def to(self, device: torch.device) -> Batch:
        raise torch.OutOfMemoryError("no room")


def unexplained(_: Sequence[Batch]) -> AbstractContextManager[None]:
    return nullcontext()


def updates() -> list[list[Batch]]:
    return [[make_batch(TASK, size, (1, 5)), make_batch(TASK, size, (2, 3))] for size in range(1, 6)]


def test_items_are_started_ahead_and_come_in_their_order() -> None:
    started: list[int] = []

    def start(item: int) -> int:
        started.append(item)
        return item

    seen = [(item, list(started)) for item in ahead(range(5), start, 2)]
    assert seen == [(0, [0, 1, 2]), (1, [0, 1, 2, 3]), (2, [0, 1, 2, 3, 4]), (3, [0, 1, 2, 3, 4]), (4, [0, 1, 2, 3, 4])]


def test_a_cpu_has_the_batches_as_they_are() -> None:
    given = updates()
    for batches, delivery in zip(given, Courier(CPU, unexplained).deliver(given), strict=True):
        assert delivery.batches is batches
        for mine, theirs in zip(batches, delivery.on_device, strict=True):
            assert all(a is b for a, b in zip(mine.tensors(), theirs.tensors(), strict=True))


def test_the_tensors_of_a_packed_batch_are_all_named() -> None:
    assert len(list(next(packed_batches(TASK, 64)).tensors())) == 6 + 2 * 5
    assert len(list(make_batch(TASK, 3, (1, 2)).tensors())) == 6


def test_what_does_not_fit_while_it_is_copied_is_explained_like_an_update() -> None:
    config = TrainConfig(batching=TrainBatchingConfig(max_tokens=500))
    given = [TooLarge(**vars(make_batch(TASK, 3, (2, 4))))]

    def explaining(batches: Sequence[Batch]) -> AbstractContextManager[None]:
        return explaining_out_of_memory(batches, config, update=7, process=0, device=CPU)

    with pytest.raises(TrainingError, match=r"ran out of memory in update 7, .* 3 sentences .* no room") as raised:
        next(Courier(CPU, explaining).deliver([given]))
    assert "batching.max_tokens=250" in str(raised.value.remedy)


@pytest.mark.gpu
def test_a_gpu_has_copies_of_all_batches() -> None:
    pinned = [[batch.pin_memory() for batch in batches] for batches in updates()]
    torch.cuda.set_sync_debug_mode("error")
    try:
        deliveries = list(Courier(torch.device("cuda"), unexplained).deliver(pinned))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for batches, delivery in zip(pinned, deliveries, strict=True):
        for mine, theirs in zip(batches, delivery.on_device, strict=True):
            assert mine.num_tokens == theirs.num_tokens
            for host, device in zip(mine.tensors(), theirs.tensors(), strict=True):
                assert device.is_cuda
                assert torch.equal(host, device.cpu())
