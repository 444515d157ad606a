"""Phases and their times, by a clock that a test sets."""

from __future__ import annotations

import pytest
import torch

from seqtrain.training.laps import EventClock, HostClock, Laps
from seqtrain.training.stopwatch import Phase


class ScriptedClock:
    """Says what it was told to say."""

    def __init__(self, *times: float) -> None:
        self._times = iter(times)

    def mark(self) -> float:
        return next(self._times)

    def seconds(self, start: float, end: float) -> float:
        return end - start


def test_the_time_from_one_phase_to_the_next_is_the_first_ones() -> None:
    laps = Laps(ScriptedClock(1.0, 3.0, 10.0))
    for phase in (Phase.forward, Phase.backward, Phase.host):
        laps.enter(phase)
    assert laps.totals() == {Phase.forward: 2.0, Phase.backward: 7.0}


def test_times_of_a_phase_add_up() -> None:
    laps = Laps(ScriptedClock(0.0, 1.0, 3.0, 7.0))
    for phase in (Phase.forward, Phase.backward, Phase.forward, Phase.host):
        laps.enter(phase)
    assert laps.totals() == {Phase.forward: 5.0, Phase.backward: 2.0}


def test_no_phase_has_no_time() -> None:
    assert Laps(ScriptedClock()).totals() == {}


def test_the_hosts_clock_never_goes_back() -> None:
    clock = HostClock()
    first, second = clock.mark(), clock.mark()
    assert clock.seconds(first, second) >= 0


@pytest.mark.gpu
def test_events_of_a_gpu_are_marks_that_nobody_waits_for() -> None:
    clock = EventClock()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        first = clock.mark()
        torch.ones(1000, 1000, device="cuda").sum()
        second = clock.mark()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert clock.seconds(first, second) > 0
