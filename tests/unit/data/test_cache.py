"""Folders that are made once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from seqtrain.data.cache import cache_root, cached_folder
from seqtrain.errors import DataError


class Builder:
    """Writes a file, and counts how often it is asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "content").write_text("text")


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    build = Builder()
    first = cached_folder(tmp_path, "kind", "key", build)
    assert cached_folder(tmp_path, "kind", "key", build) == first
    assert build.calls == 1
    assert (first / "content").read_text() == "text"
    assert cached_folder(tmp_path, "kind", "other", build) != first


def test_a_damaged_folder_is_made_again_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build = Builder()
    folder = cached_folder(tmp_path, "kind", "key", build)
    (folder / "content").write_text("tex!")
    with caplog.at_level(logging.WARNING):
        assert cached_folder(tmp_path, "kind", "key", build) == folder
    assert (folder / "content").read_text() == "text"
    assert "making a damaged folder of the cache again" in caplog.text


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise DataError("half way")

    with pytest.raises(DataError, match="half way"):
        cached_folder(tmp_path, "kind", "key", fail)
    assert list((tmp_path / "kind").iterdir()) == []


def test_of_two_that_build_the_same_the_first_wins(tmp_path: Path) -> None:
    inner = Builder()

    def build(folder: Path) -> None:
        cached_folder(tmp_path, "kind", "key", inner)
        (folder / "content").write_text("late")

    folder = cached_folder(tmp_path, "kind", "key", build)
    assert (folder / "content").read_text() == "text"
    assert [path.name for path in (tmp_path / "kind").iterdir()] == ["key"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written") as raised:
        cached_folder(tmp_path / "file", "kind", "key", Builder())
    assert raised.value.remedy == "set task.cache=FOLDER or SEQTRAIN_CACHE"


def test_the_cache_is_where_config_environment_or_habit_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_root(None) == Path("/home/me/.cache/seqtrain")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_root(None) == Path("/caches/seqtrain")
    monkeypatch.setenv("SEQTRAIN_CACHE", "~/mine")
    assert cache_root(None) == Path("/home/me/mine")
    assert cache_root("/other") == Path("/other")
