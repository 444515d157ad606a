"""The log file, and a disk that has no room for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqtrain.console import configure_logging


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The logger of seqtrain, whose handlers are gone afterwards."""
    logger = logging.getLogger("seqtrain")
    yield logger
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True


def test_a_full_disk_is_said_once_and_without_a_traceback(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Path("/dev/full"))
    logger.info("first")
    logger.info("second")
    assert capsys.readouterr().err.splitlines() == [
        "first",
        "warning: /dev/full cannot be written: No space left on device",
        "second",
    ]


def test_a_line_that_is_no_unicode_is_logged_all_the_same(logger: logging.Logger, tmp_path: Path) -> None:
    configure_logging(tmp_path / "train.log")
    logger.info("a name: \udc80")
    assert "a name: \\udc80" in (tmp_path / "train.log").read_text(encoding="utf-8")
