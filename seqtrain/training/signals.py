"""Stopping a run from outside: signals, or its time, ask for an end; a second signal enforces it.

This module imports nothing heavy: the handlers stand before torch is imported, so that a signal in the seconds of
start-up is not lost.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from seqtrain.errors import PreemptedError

if TYPE_CHECKING:
    from seqtrain.training.distributed import Processes

_ECHO_SECONDS = 1.0  # a terminal's Ctrl-C reaches a process twice: from the terminal, and through torchrun
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)  # of SLURM, where it is told to send them; submitit takes the second
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, *_WARNINGS)
TIME_BUDGET = "training.time_budget_hours"
_REASONS = (*(number.name for number in STOP_SIGNALS), TIME_BUDGET)


class StopRequest:
    """Remembers that a signal asked the run to stop; the loops ask for it between two batches.

    The first signal only sets `signal_name`; where there is nothing to save, it raises (see `raising`). A second SIGINT
    or SIGTERM ends the process at once, as if there were no handler: what is on the disk is whole at any moment. One
    that follows within a second does not count, nor does a warning. Whoever handled a signal before, if anybody did,
    gets it when the run is saved.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._begun = time.monotonic()
        self._seconds = math.inf
        self._came_at: float | None = None  # the first that was no warning
        self._received: dict[signal.Signals, None] = {}  # in the order in which they came
        self._raised_message: str | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __bool__(self) -> bool:
        """Whether a stop was asked for, or the time is over."""
        if self.signal_name is None and time.monotonic() - self._begun >= self._seconds:
            self.signal_name = TIME_BUDGET
        return self.signal_name is not None

    def limit(self, hours: float | None) -> None:
        """Ask for a stop so many hours after this object was made; None never does."""
        self._seconds = math.inf if hours is None else 3600 * hours

    def __enter__(self) -> StopRequest:
        """Install the handlers."""
        for number in STOP_SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the former handlers back (a sweep runs several jobs in one process), and hand on to them what came.

        So does submitit put a job of SLURM's into the queue again; its handler leaves by SystemExit.
        """
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned, it takes
        if isinstance(error, PreemptedError):
            for number in self._received:
                former = self._previous[number]
                if callable(former) and former is not signal.default_int_handler:
                    former(number, None)

    @contextmanager
    def raising(self, message: str) -> Iterator[None]:
        """Let the first signal raise an error wherever the `with` block is: it may prepare data for hours.

        Args:
            message: What the signal's name stands before: "before the first update".

        Raises:
            PreemptedError: A signal asked for an end, in the block or before it.
        """
        self._raised_message = message
        try:
            if self:
                self._raise()
            yield
        finally:
            self._raised_message = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        received = signal.Signals(number)
        if received not in _WARNINGS:
            now = time.monotonic()
            if self._came_at is not None and now - self._came_at >= _ECHO_SECONDS:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            self._came_at = self._came_at or now
        self._received.setdefault(received)
        if self.signal_name is None:
            self.signal_name = received.name
            if self._raised_message is not None:
                self._raise()

    def _raise(self) -> None:
        raise PreemptedError(f"{self.signal_name} {self._raised_message}", remedy="the same command starts again")


class SharedStop:
    """Whether any process of a run was asked to stop, as all of them know it.

    A signal reaches the processes at different moments. What they do together they decide by this, which changes only
    where all of them ask.
    """

    def __init__(self, stop: StopRequest, processes: Processes) -> None:
        self.signal_name: str | None = None
        self._stop = stop
        self._processes = processes

    def __bool__(self) -> bool:
        """Whether a stop was agreed on."""
        return self.signal_name is not None

    def agree(self, seconds: float = 0.0) -> float:
        """Ask all processes; each of them must.

        Args:
            seconds: A time that this process measured.

        Returns:
            The time that the first process measured.
        """
        is_first = self._processes.is_first
        asked = _REASONS.index(self._stop.signal_name) + 1 if self._stop and self._stop.signal_name else 0
        number, seconds = self._processes.max([asked, seconds if is_first else 0.0])
        if number and self.signal_name is None:
            self.signal_name = _REASONS[int(number) - 1]
        return seconds
