"""What a running training shows: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from seqtrain.config import root
from seqtrain.console import console

logger = logging.getLogger(__name__)

_RARE = {"num_skipped", "num_loss_spikes"}  # shown where there are any


class Display:
    """Shows nothing: what `progress=none` asks for, and the base of the others."""

    def __enter__(self) -> Display:
        """Begin to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def advance(self, num_updates: int) -> None:
        """Show that so many updates are done."""

    def show(self, row: Mapping[str, Any]) -> None:
        """Show a row of metrics.jsonl."""


class PlainDisplay(Display):
    """A log line for each row: for files, pipes and batch systems."""

    def show(self, row: Mapping[str, Any]) -> None:
        """Log a row."""
        logger.info("%s", format_row(row))


class RichDisplay(Display):
    """A live line: updates, the newest measures, time left. Validation rows scroll above it."""

    def __init__(self, max_updates: int | None) -> None:
        self._progress = Progress(
            TextColumn("update {task.completed}/{task.total}" if max_updates else "update {task.completed}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[measures]}"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=max_updates, measures="")

    def __enter__(self) -> Display:
        """Draw the line."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the line away."""
        self._progress.stop()

    def advance(self, num_updates: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=num_updates)

    def show(self, row: Mapping[str, Any]) -> None:
        """Put training measures into the line, and log validation measures above it."""
        if row["split"] == "train":
            self._progress.update(
                self._task, measures=format_row(row, names=("loss", "tokens_per_second", "mfu", "learning_rate"))
            )
        else:
            logger.info("%s", format_row(row))


def make_display(progress: root.Progress, max_updates: int | None) -> Display:
    """The display that a config asks for; auto looks whether stderr is a terminal."""
    if progress is root.Progress.none:
        return Display()
    if progress is root.Progress.rich or (progress is root.Progress.auto and console.is_terminal):
        return RichDisplay(max_updates)
    return PlainDisplay()


def format_row(row: Mapping[str, Any], names: tuple[str, ...] | None = None) -> str:
    """One line: `train | epoch 1 | update 50 | loss 9.312 | ...`.

    Args:
        row: A row of metrics.jsonl.
        names: The measures to show; None shows all.
    """
    shown = [row["split"]] if names is None else []
    for key, value in row.items():
        if key != "split" and (names is None or key in names) and value is not None and (value or key not in _RARE):
            shown.append(f"{key.replace('_', ' ')} {_format_number(value)}")
    return " | ".join(shown)


def _format_number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
