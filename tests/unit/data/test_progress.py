"""The progress bar."""

from __future__ import annotations

import io
import sys

import pytest

from seqtrain.data.progress import track_lines


class Terminal(io.StringIO):
    """A stream that says that somebody watches."""

    def isatty(self) -> bool:
        """It does."""
        return True


def test_nothing_is_shown_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with track_lines("tokenizing train", 10) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with track_lines("tokenizing train", 10) as advance:
        advance(10)
    assert "tokenizing train" in terminal.getvalue()
    assert "10/10" in terminal.getvalue()
