"""Files that are whole or not there, and disks that are full."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from seqtrain.errors import DiskError
from seqtrain.files import disk_errors, write_text_atomically


def test_a_full_disk_names_the_file_and_what_to_do() -> None:
    with pytest.raises(DiskError, match=r"a\.txt cannot be written or read: No space left") as caught, disk_errors():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.txt")
    assert "make room on the disk" in str(caught.value)


def test_other_errors_of_the_system_are_left_as_they_are() -> None:
    with pytest.raises(FileNotFoundError), disk_errors():
        Path("/nowhere/at/all").stat()


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
