"""The one console: logs and progress go to stderr, results to stdout."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from rich.console import Console

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
        file_handler = logging.FileHandler(log_file, encoding="utf-8")
        file_handler.setFormatter(UTCFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(file_handler)


class UTCFormatter(logging.Formatter):
    """Times in UTC, as ISO 8601: local time jumps twice a year."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    @staticmethod
    def converter(timestamp: float | None) -> object:  # type: ignore[override]
        """UTC instead of local time."""
        import time

        return time.gmtime(timestamp)


def print_result(text: str) -> None:
    """Write one line of a command's result to stdout, as it is."""
    sys.stdout.write(text + "\n")
