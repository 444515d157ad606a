"""Folders that are whole or not there."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from seqtrain.data.building import building


def test_the_folder_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with building(target) as folder:
        (folder / "content").write_text("text")
        assert not target.exists()
    assert (target / "content").read_text() == "text"
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o755


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), building(tmp_path / "target"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_another_process_finished_first_stays(tmp_path: Path) -> None:
    with building(tmp_path / "target") as folder:
        (folder / "content").write_text("late")
        (tmp_path / "target").mkdir()
        (tmp_path / "target" / "content").write_text("first")
    assert (tmp_path / "target" / "content").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_is_removed_and_what_others_are_filling_is_not(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from seqtrain.data.building import building
with building(Path({str(tmp_path / "killed")!r})) as folder:
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    alive = tmp_path / f".building-{platform.node()}-{os.getppid()}-x"
    elsewhere = tmp_path / ".building-elsewhere-1-x"
    alive.mkdir()
    elsewhere.mkdir()
    with building(tmp_path / "target"):
        pass
    assert set(tmp_path.iterdir()) == {tmp_path / "target", alive, elsewhere}
