"""How long the phases of training take: on the host by its clock, on a GPU by events that nobody waits for."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Generic, Protocol, TypeVar

import torch

from seqtrain.training.stopwatch import Phase

__all__ = ["Clock", "EventClock", "HostClock", "Laps"]

M = TypeVar("M")


class Clock(Protocol[M]):
    """Makes marks in time."""

    def mark(self) -> M:
        """This moment."""
        ...

    def seconds(self, start: M, end: M) -> float:
        """The time between two marks, in the end, when waiting does no harm."""
        ...


class HostClock:
    """What the host's Python spends: on the CPU all there is, on a GPU the time to hand the work over."""

    def mark(self) -> float:
        """See `Clock`."""
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        """See `Clock`."""
        return end - start


class EventClock:
    """The time on the GPU's current stream, idle time included: a mark is an event that the stream passes."""

    def mark(self) -> torch.cuda.Event:
        """See `Clock`."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """See `Clock`."""
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000  # from milliseconds


class Laps(Generic[M]):
    """Phases, one after another, and when each began."""

    def __init__(self, clock: Clock[M]) -> None:
        self._clock = clock
        self._laps: list[tuple[Phase, M]] = []

    def enter(self, phase: Phase) -> None:
        """A phase begins, and the one before it ends."""
        self._laps.append((phase, self._clock.mark()))

    def totals(self) -> dict[Phase, float]:
        """The seconds of each phase that has ended."""
        totals: defaultdict[Phase, float] = defaultdict(float)
        for (phase, start), (_, end) in zip(self._laps[:-1], self._laps[1:], strict=True):
            totals[phase] += self._clock.seconds(start, end)
        return dict(totals)
