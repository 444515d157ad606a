"""SIGKILL at any moment: the run goes on, and ends in the same bits."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.plugin import Figures, Size, size_of
from tests.faults.runs import Hit, differences

pytestmark = pytest.mark.slow

NUM_KILLS = 200
NUM_INSIDE = 60
INSIDE = "the writing of a checkpoint"
MOMENTS = ("start-up", "training", "training", "validation", "the end")
"""Where the other kills fall, in turn."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parts that workers can share, by turns with 1 and 2 threads."""
    if "part" in metafunc.fixturenames:
        num_parts = size_of(metafunc.config).of(8)
        parts = [(number, num_parts) for number in range(num_parts)]
        metafunc.parametrize("part", parts, ids=[f"{1 + number % 2} threads, part {number}" for number, _ in parts])


def test_kills_change_no_bit(
    part: tuple[int, int], whole_run: Callable[[int], Path], tmp_path: Path, size: Size, figures: Figures
) -> None:
    number, num_parts = part
    draw, num_threads = random.Random(number), 1 + number % 2
    num_kills, num_inside = -(-size.of(NUM_KILLS, 6) // num_parts), -(-size.of(NUM_INSIDE, 2) // num_parts)
    moments = [INSIDE] * num_inside
    moments += [MOMENTS[index % len(MOMENTS)] for index in range(num_kills - num_inside)]
    draw.shuffle(moments)
    harness = _Harness(tmp_path, whole_run(num_threads), num_threads, figures)
    while moments or harness.num_inside < num_inside:
        moment = moments.pop() if moments else INSIDE  # an earlier write was over before the kill
        if not harness.kill(moment, draw):
            moments.append(moment)  # the run was over before
    harness.finish()


class _Harness:
    """Kills one run after the other, and compares each that gets to its end."""

    def __init__(self, folder: Path, expected: Path, num_threads: int, figures: Figures) -> None:
        self._folder = folder
        self._expected = expected
        self._num_threads = num_threads
        self._figures = figures
        self._num_runs = 0
        self._begin_run()
        self.num_inside = 0

    def kill(self, moment: str, draw: random.Random) -> bool:
        """Start or resume the run, and kill it at a moment; whether it still ran by then."""
        hit = Hit.start(self._run, num_threads=self._num_threads)
        hit.wait(moment, draw)
        hit.process.kill()
        is_inside = bool(hit.own_debris)
        errors = hit.finish()
        if hit.process.returncode == 0:
            self._compare()
            return False
        self._require(hit.process.returncode == -signal.SIGKILL, errors)
        self.num_inside += is_inside
        self._figures.count("SIGKILL", "kills")
        self._figures.count("SIGKILL", "of them inside the writing of a checkpoint", int(is_inside))
        return True

    def finish(self) -> None:
        """Let the last run get to its end."""
        hit = Hit.start(self._run, num_threads=self._num_threads)
        errors = hit.finish()
        self._require(hit.process.returncode == 0, errors)
        self._compare()

    def _begin_run(self) -> None:
        self._num_runs += 1
        self._run = self._folder / str(self._num_runs)
        self._run.mkdir()

    def _require(self, resumed: bool, errors: str) -> None:
        self._figures.count("SIGKILL", "runs that could not resume", int(not resumed))
        assert resumed, errors

    def _compare(self) -> None:
        different = differences(self._run / "run", self._expected)
        self._figures.count("SIGKILL", "runs that got to their end")
        self._figures.count("SIGKILL", "that ended in other weights, optimizer state or rows", int(bool(different)))
        assert different == []
        self._begin_run()
