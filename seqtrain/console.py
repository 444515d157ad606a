"""The one console: logs and progress go to stderr, results to stdout."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(stderr=True, soft_wrap=True, highlight=False)


class ConsoleHandler(logging.Handler):
    """Writes log lines through the console, so that a progress bar below them stays whole."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line; warnings and errors say that they are."""
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        console.print(text, markup=False)


def configure_logging(log_file: Path | None = None) -> None:
    """Send what seqtrain logs to the console, and to a file as well.

    Args:
        log_file: Appended to, with times in UTC; None writes none.
    """
    logger = logging.getLogger("seqtrain")
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(ConsoleHandler())
    if log_file is not None:
        file_handler = LogFileHandler(log_file)
        file_handler.setFormatter(UTCFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(file_handler)


class LogFileHandler(logging.FileHandler):
    """Appends to train.log; a full disk is said once, and ends nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging calls it so
        """Say that the file cannot be written; logging itself would print a traceback for every line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._failed:
            self._failed = True
            console.print(f"warning: {self.baseFilename} cannot be written: {error.strerror}", markup=False)

    def close(self) -> None:
        """Close the file; lines that found no room are lost, as was said."""
        with suppress(OSError):
            super().close()


class UTCFormatter(logging.Formatter):
    """Times in UTC, as ISO 8601: local time jumps twice a year."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    @staticmethod
    def converter(timestamp: float | None) -> object:  # type: ignore[override] # an attribute there
        """UTC instead of local time."""
        import time

        return time.gmtime(timestamp)


def print_result(text: str) -> None:
    """Write one line of a command's result to stdout, as it is."""
    sys.stdout.write(text + "\n")


def print_table(title: str, rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> None:
    """Write rows to stdout in columns: fitted to a terminal, and elsewhere one line a row, however long.

    Args:
        title: A line above them, after an empty one; none if it is empty.
        rows: Of equally many cells; one row at least.
        right: The columns, counted from 0, whose cells end together, as numbers should.
    """
    print(f"\n{title}" if title else "")
    if sys.stdout.isatty():
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for number in range(len(rows[0])):
            table.add_column(justify="right" if number in right else "left")
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print(f"  {'  '.join(cells)}".rstrip())
