"""Batches on their way to a GPU: copied ahead of their use, on a stream of their own, while it computes others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from seqtrain.data.batch import Batch

__all__ = ["Delivery", "ahead", "deliver"]

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


def deliver(updates: Iterable[Sequence[Batch]], device: torch.device) -> Iterator[Delivery]:
    """Bring the micro-batches of updates to a device, those of a GPU ahead of their use.

    From pinned memory (`Batch.pin_memory`) neither the host waits for the copies nor, once they are there, the stream
    that computes.
    """
    if device.type != "cuda":
        for batches in updates:
            yield Delivery(batches, [batch.to(device) for batch in batches])
        return
    stream = torch.cuda.Stream(device)
    for transfer in ahead(updates, lambda batches: _Transfer(batches, device, stream), _NUM_AHEAD):
        yield transfer.arrive()


def ahead(items: Iterable[Item], start: Callable[[Item], Started], num_ahead: int) -> Iterator[Started]:
    """Start each item so many before its turn; they come in their order."""
    started: deque[Started] = deque()
    for item in items:
        started.append(start(item))
        if len(started) > num_ahead:
            yield started.popleft()
    yield from started


class _Transfer:
    """The copies of an update's batches to a GPU."""

    def __init__(self, batches: Sequence[Batch], device: torch.device, stream: torch.cuda.Stream) -> None:
        self._batches = batches
        self._device = device
        with torch.cuda.stream(stream):
            self._on_device = [batch.to(device) for batch in batches]
            self._copied = stream.record_event()

    def arrive(self) -> Delivery:
        """Have the stream that computes go on behind the copies; the host does not wait."""
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(self._copied)
        for batch in self._on_device:
            for tensor in batch.tensors():
                tensor.record_stream(stream)  # or their memory would be given to the next copies too early
        return Delivery(self._batches, self._on_device)
