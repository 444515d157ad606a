"""`training.profile=true`: where an update's time goes, measured over some updates, and a trace of a few more."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from seqtrain.data.batch import Batch
from seqtrain.models.base import TokenCounts
from seqtrain.training.breakdown import Breakdown
from seqtrain.training.laps import EventClock, HostClock, Laps
from seqtrain.training.stopwatch import Phase, Stopwatch
from seqtrain.training.utilization import Utilization

__all__ = ["Profile", "ProfileWindow", "Trace"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProfileWindow:
    """Which updates of a process are measured, counted from its start.

    Attributes:
        num_warmup: Updates at the beginning that are not: kernels are made and memory is taken in them.
        num_timed: Updates of the table.
        num_traced: Updates of the trace, after those of the table, for tracing costs time; one where an update has
            many micro-batches, which bounds the size of the file.
    """

    num_warmup: int = 20
    num_timed: int = 50
    num_traced: int = 3


class Profile(Stopwatch):
    """Measures the phases of updates, then traces a few, and says what it found in the log.

    On a GPU no update is waited for, until the last of them is measured.
    """

    def __init__(
        self,
        path: Path,
        device: torch.device,
        *,
        window: ProfileWindow | None = None,
        utilization: Utilization | None = None,
    ) -> None:
        """Measure nothing yet.

        Args:
            path: The file of the trace to write, .json.gz.
            device: Where the model is.
            window: Which updates are measured.
            utilization: Tells the share of the machine's peak; None where that is not known.
        """
        self._path = path
        self._device = device
        self._window = window or ProfileWindow()
        self._utilization = utilization
        self._num_updates = 0  # that have begun
        self._phase = Phase.host
        self._timer: Timer | None = None
        self._trace: Trace | None = None
        self._is_told = False
        self._between: defaultdict[Phase, list[float]] = defaultdict(list)
        self._begin = time.perf_counter()

    def updates(self, batches: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        """See `Stopwatch`."""
        while True:
            self._open_and_close()
            self.enter(Phase.data)
            update = next(batches, None)
            if update is None:
                return
            self.enter(Phase.host)
            self._num_updates += 1
            if self._timer is not None:
                self._timer.count(update)
            if self._trace is not None:
                self._trace.count(update)
            yield update

    def enter(self, phase: Phase) -> None:
        """See `Stopwatch`."""
        self._phase = phase
        if self._timer is not None:
            self._timer.enter(phase)
        if self._trace is not None:
            self._trace.enter(phase)

    def during(self, phase: Phase) -> AbstractContextManager[None]:
        """See `Stopwatch`."""
        return self._during(phase)

    @contextmanager
    def _during(self, phase: Phase) -> Iterator[None]:
        before, begin = self._phase, time.perf_counter()
        self.enter(phase)
        try:
            yield
        finally:
            self.enter(before)
            self._between[phase].append(time.perf_counter() - begin)

    def close(self) -> None:
        """See `Stopwatch`; what a short run did not come to is said."""
        if self._trace is not None:
            self._end_trace()
        elif self._num_updates <= self._window.num_warmup:
            logger.warning(
                "nothing is profiled: the first %d updates are not, and there were no more", self._window.num_warmup
            )
        elif not self._is_told:
            self._tell()
        seconds = time.perf_counter() - self._begin
        for phase, times in self._between.items():
            logger.info(
                "between updates: %s %d times, %.3g s each, %.1f %% of the run",
                phase.value,
                len(times),
                sum(times) / len(times),
                100 * sum(times) / seconds,
            )

    def _open_and_close(self) -> None:
        """Begin and end what is due; called between two updates, and once more where an epoch ends."""
        window, number = self._window, self._num_updates
        if number == window.num_warmup and self._timer is None:
            self._timer = Timer(self._device)
        if number == window.num_warmup + window.num_timed and not self._is_told:
            self._tell()
            self._trace = Trace(self._path, self._device, num_updates=window.num_traced)
        if self._trace is not None and self._trace.is_complete:
            self._end_trace()

    def _tell(self) -> None:
        assert self._timer is not None, "told once, after the warm-up"
        found, self._timer, self._is_told = self._timer.breakdown(self._utilization), None, True
        first = self._window.num_warmup + 1
        logger.info(
            "profile of updates %d to %d of this process:\n%s", first, first + found.num_updates - 1, found.table()
        )

    def _end_trace(self) -> None:
        assert self._trace is not None
        self._trace.write()
        logger.info("trace of %d updates: %s, to be opened in ui.perfetto.dev", self._trace.num_updates, self._path)
        self._trace = None


class Timer:
    """Measures the phases of updates from now on."""

    def __init__(self, device: torch.device) -> None:
        self._host = Laps(HostClock())
        self._device = Laps(EventClock()) if device.type == "cuda" else None
        self._num_updates = self._num_source_tokens = self._num_target_tokens = self._num_sentences = 0

    def enter(self, phase: Phase) -> None:
        """A phase begins."""
        self._host.enter(phase)
        if self._device is not None and not torch.cuda.is_current_stream_capturing():
            self._device.enter(phase)

    def count(self, batches: list[Batch]) -> None:
        """An update is made of these."""
        self._num_updates += 1
        for batch in batches:
            if not batch.is_filler:
                self._num_source_tokens += batch.num_source_tokens
                self._num_target_tokens += batch.num_tokens
                self._num_sentences += len(batch)

    def breakdown(self, utilization: Utilization | None) -> Breakdown:
        """What was measured; waits for the GPU."""
        self.enter(Phase.host)  # ends the last phase
        return Breakdown(
            num_updates=self._num_updates,
            counts=TokenCounts(self._num_source_tokens, self._num_target_tokens, self._num_sentences),
            host=self._host.totals(),
            device=None if self._device is None else self._device.totals(),
            utilization=utilization,
        )


class Trace:
    """torch's profile of the updates from now on, in the format of Chrome and Perfetto."""

    def __init__(self, path: Path, device: torch.device, *, num_updates: int) -> None:
        """Begin.

        Args:
            path: The file to write.
            device: Whose kernels are traced beside the host's calls.
            num_updates: To trace; fewer where they have many micro-batches.
        """
        self.num_updates = 0
        self._path = path
        self._num_wanted = num_updates
        self._num_batches = 0
        self._range: record_function | None = None
        self._thread = threading.get_ident()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        self._profiler = profile(activities=activities, acc_events=True)
        self._profiler.start()

    @property
    def is_complete(self) -> bool:
        """Whether the wanted number of updates, or of micro-batches, is traced."""
        return max(self.num_updates, self._num_batches) >= self._num_wanted

    def count(self, batches: list[Batch]) -> None:
        """An update is made of these."""
        self.num_updates += 1
        self._num_batches += len(batches)

    def enter(self, phase: Phase) -> None:
        """A phase begins, and gets a range of its name; autograd's threads cannot end the ranges of this one."""
        if threading.get_ident() == self._thread:
            self._leave()
            self._range = record_function(phase.value)
            self._range.__enter__()

    def write(self) -> None:
        """End, and write the file."""
        self._leave()
        self._profiler.stop()
        self._profiler.export_chrome_trace(str(self._path))

    def _leave(self) -> None:
        if self._range is not None:
            self._range.__exit__(None, None, None)
            self._range = None
