"""The first signal asks for an end; the second enforces it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType

import pytest

from seqtrain.errors import PreemptedError
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.signals import STOP_SIGNALS, SharedStop, StopRequest


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_remembered_by_name(number: signal.Signals) -> None:
    with StopRequest() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal_name == number.name


def test_the_former_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with StopRequest():
        pass
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_signal_raises_at_once_where_there_is_nothing_to_save() -> None:
    with (
        StopRequest() as stop,
        pytest.raises(PreemptedError, match="SIGTERM before the first update"),
        stop.raising("before the first update"),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.signal_name == "SIGTERM"


def test_a_signal_that_came_before_such_work_raises_at_its_beginning() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(PreemptedError), stop.raising("before the first update"):
            os.kill(os.getpid(), signal.SIGTERM)  # not reached, or it would end this process


def test_a_signal_behind_such_work_is_remembered_again() -> None:
    with StopRequest() as stop:
        with stop.raising("before the first update"):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop


def test_a_second_signal_ends_the_process() -> None:
    code = (
        "import os, signal\n"
        "from seqtrain.training import signals\n"
        "with signals.StopRequest():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"  # an echo of the first
        "    print('alive', flush=True)\n"
        "    signals._ECHO_SECONDS = 0\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still alive')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "alive\n"
    assert result.returncode == -signal.SIGTERM


def test_a_warning_ends_no_process() -> None:
    code = (
        "import os, signal\n"
        "from seqtrain.training import signals\n"
        "signals._ECHO_SECONDS = 0\n"
        "with signals.StopRequest() as stop:\n"
        "    for number in (signal.SIGUSR2, signal.SIGUSR2, signal.SIGTERM, signal.SIGUSR1):\n"
        "        os.kill(os.getpid(), number)\n"
        "    print(stop.signal_name)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("SIGUSR2\n", 0)


@pytest.fixture
def taken() -> Iterator[list[str]]:
    """What the handlers of somebody else are given: that of SIGTERM, and that of SIGUSR2, which leaves."""
    taken: list[str] = []

    def note(number: int, _frame: FrameType | None) -> None:
        taken.append(signal.Signals(number).name)

    def requeue(number: int, frame: FrameType | None) -> None:
        note(number, frame)
        raise SystemExit(144)

    before = [signal.signal(signal.SIGTERM, note), signal.signal(signal.SIGUSR2, requeue)]
    yield taken
    for number, handler in zip((signal.SIGTERM, signal.SIGUSR2), before, strict=True):
        signal.signal(number, handler)


def end_after(error: BaseException | None, *numbers: signal.Signals) -> None:
    """A run that gets signals, and then ends."""
    with StopRequest():
        for number in numbers:
            os.kill(os.getpid(), number)
        if error is not None:
            raise error


def test_the_former_handlers_get_what_came_when_the_run_is_saved(taken: list[str]) -> None:
    with pytest.raises(SystemExit, match="144"):
        end_after(PreemptedError("SIGTERM at update 7"), signal.SIGTERM, signal.SIGUSR2)  # SLURM preempts with both
    assert taken == ["SIGTERM", "SIGUSR2"]


def test_the_former_handlers_get_nothing_of_a_run_that_is_finished_or_fails(taken: list[str]) -> None:
    end_after(None, signal.SIGUSR2)
    with pytest.raises(ZeroDivisionError):
        end_after(ZeroDivisionError("in a plug-in"), signal.SIGUSR2)
    assert taken == []


def test_a_time_that_is_over_asks_for_a_stop() -> None:
    stop = StopRequest()
    stop.limit(None)
    assert not stop
    stop.limit(1000.0)
    assert not stop
    stop.limit(0.0)
    assert stop
    assert stop.signal_name == "training.time_budget_hours"


def test_processes_agree_on_whichever_reason_there_is() -> None:
    stop = StopRequest()
    shared = SharedStop(stop, SingleProcess())
    assert shared.agree(12.5) == 12.5
    assert not shared
    stop.limit(0.0)
    assert not shared  # nobody has asked yet
    shared.agree()
    assert shared.signal_name == "training.time_budget_hours"
