"""The size of the fault suite, and the table of what it measured.

`make test` runs a small part of each test, `make faults` the whole. What a test counted is printed behind the tests
and, with `--faults-report FILE`, written as Markdown.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.shared import CHECKOUT

_PROPERTY = "faults"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much of the fault suite is run, and where its figures go."""
    group = parser.getgroup("faults", "the fault suite, tests/faults")
    group.addoption(
        "--faults",
        type=float,
        default=3.0,
        metavar="PERCENT",
        help="how much of the fault suite to run, in percent of the whole (make faults: 100; default: 3)",
    )
    group.addoption("--faults-report", metavar="FILE", help="write the figures of the fault suite as Markdown")


@dataclass(frozen=True)
class Size:
    """How much of the suite is run.

    Attributes:
        percent: Of the whole.
    """

    percent: float

    def of(self, whole: int, at_least: int = 1) -> int:
        """The share of a number that belongs to the whole suite."""
        return max(at_least, round(whole * self.percent / 100))


class Figures:
    """Takes down what a test counts: (fault, what, number), which add up over the tests of a session."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def count(self, fault: str, what: str, number: int = 1) -> None:
        """Add to a count; a count of nothing is shown as 0."""
        self._properties.append((_PROPERTY, [fault, what, "sum", number]))

    def slowest(self, fault: str, what: str, seconds: float) -> None:
        """Take down a time, of which the longest is shown."""
        self._properties.append((_PROPERTY, [fault, f"{what} (seconds)", "max", seconds]))

    def largest(self, fault: str, what: str, value: float) -> None:
        """Take down a value, of which the largest is shown."""
        self._properties.append((_PROPERTY, [fault, what, "max", value]))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """What the test counts."""
    return Figures(request.node.user_properties)


@pytest.fixture(scope="session")
def size(pytestconfig: pytest.Config) -> Size:
    """How much of the suite is run."""
    return size_of(pytestconfig)


def size_of(config: pytest.Config) -> Size:
    """How much of the suite is run."""
    return Size(float(config.getoption("--faults")))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the figures, and write them where that is asked for."""
    table = _gather(terminalreporter.stats)
    if not table:
        return
    terminalreporter.section("faults")
    for fault, measured in table.items():
        terminalreporter.write_line(f"{fault}: {'; '.join(_shown(measured))}")
    if path := config.getoption("--faults-report"):
        outcomes = {name: len(terminalreporter.stats.get(name, [])) for name in ("passed", "failed", "skipped")}
        Path(path).write_text(_markdown(table, outcomes, config), encoding="utf-8")


def _gather(stats: dict[str, list[Any]]) -> dict[str, dict[str, float]]:
    """Fault -> what -> number, over the reports of all tests, in the order of the tests."""
    reports = [report for name in ("passed", "failed") for report in stats.get(name, [])]
    table: dict[str, dict[str, float]] = {}
    for fault, what, kind, number in _entries(sorted(reports, key=lambda report: str(report.nodeid))):
        measured = table.setdefault(fault, {})
        before = measured.get(what, 0)
        measured[what] = before + number if kind == "sum" else max(before, number)
    return table


def _entries(reports: Iterable[Any]) -> Iterator[tuple[str, str, str, float]]:
    for report in reports:
        if getattr(report, "when", None) == "call":
            for name, entry in report.user_properties:
                if name == _PROPERTY:
                    yield tuple(entry)


def _shown(measured: dict[str, float]) -> list[str]:
    return [
        f"{what} {value:.2g}" if isinstance(value, float) else f"{value} {what}" for what, value in measured.items()
    ]


def _markdown(table: dict[str, dict[str, float]], outcomes: dict[str, int], config: pytest.Config) -> str:
    """The report: what was run where, and a line for each fault."""
    share = size_of(config).percent
    command = f"python -m pytest {shlex.join(str(argument) for argument in config.invocation_params.args)}"
    lines = [
        "# Faults",
        "",
        f"`{command}`" + ("" if share >= 100 else f" ({share:g} % of the whole)"),
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}, {_machine()}. "
        f"Tests: {', '.join(f'{number} {name}' for name, number in outcomes.items())}.",
        "",
        "| fault | figures |",
        "|---|---|",
        *(f"| {fault} | {'; '.join(_shown(measured))} |" for fault, measured in table.items()),
    ]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def _machine() -> str:
    """The processor, its cores that may be used, and the versions."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    processor = names[0].partition(":")[2].strip() if names else platform.machine()
    versions = f"Python {platform.python_version()}, PyTorch {version('torch')}"
    return f"{processor}, {os.cpu_count()} cores, {versions}"
