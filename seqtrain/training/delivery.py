"""Batches on their way to a GPU: copied ahead of their use, on a stream of their own, while it computes others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from seqtrain.data.batch import Batch

__all__ = ["Courier", "Delivery", "ahead"]

_NUM_AHEAD = 2  # updates whose batches are on their way or there

Item = TypeVar("Item")
Started = TypeVar("Started")


@dataclass(frozen=True)
class Delivery:
    """The micro-batches of an update.

    Attributes:
        batches: As the host has them.
        on_device: The same ones, where the model is.
    """

    batches: Sequence[Batch]
    on_device: Sequence[Batch]


class Courier:
    """Brings the micro-batches of updates to a device, those of a GPU ahead of their use.

    From pinned memory (`Batch.pin_memory`) neither the host waits for the copies nor, once they are there, the stream
    that computes.
    """

    def __init__(
        self, device: torch.device, explaining: Callable[[Sequence[Batch]], AbstractContextManager[None]]
    ) -> None:
        """Take a stream of the GPU, which serves all epochs.

        Args:
            device: Where the model is.
            explaining: Around the copies of an update's batches: says what to do when they do not fit.
        """
        self._device = device
        self._explaining = explaining
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def deliver(self, updates: Iterable[Sequence[Batch]]) -> Iterator[Delivery]:
        """The updates, in their order."""
        if self._stream is None:
            for batches in updates:
                yield Delivery(batches, self._copies(batches))
            return
        for transfer in ahead(updates, partial(self._transfer, self._stream), _NUM_AHEAD):
            yield transfer.arrive()

    def _transfer(self, stream: torch.cuda.Stream, batches: Sequence[Batch]) -> _Transfer:
        with torch.cuda.stream(stream):
            return _Transfer(batches, self._copies(batches), self._device, stream.record_event())

    def _copies(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        with self._explaining(batches):
            return [batch.to(self._device) for batch in batches]


def ahead(items: Iterable[Item], start: Callable[[Item], Started], num_ahead: int) -> Iterator[Started]:
    """Start each item so many before its turn; they come in their order."""
    started: deque[Started] = deque()
    for item in items:
        started.append(start(item))
        if len(started) > num_ahead:
            yield started.popleft()
    yield from started


@dataclass(frozen=True)
class _Transfer:
    """The copies of an update's batches to a GPU.

    Attributes:
        batches: As the host has them.
        on_device: The copies.
        device: The GPU.
        copied: When they are there.
    """

    batches: Sequence[Batch]
    on_device: Sequence[Batch]
    device: torch.device
    copied: torch.cuda.Event

    def arrive(self) -> Delivery:
        """Have the stream that computes go on behind the copies; the host does not wait."""
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(self.copied)
        for batch in self.on_device:
            for tensor in batch.tensors():
                tensor.record_stream(stream)  # or their memory would be given to the next copies too early
        return Delivery(self.batches, self.on_device)
