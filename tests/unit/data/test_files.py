"""Reading files, packed or not."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from seqtrain.data.files import digest, open_binary, read_text
from seqtrain.errors import DataError


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"text"))
    (tmp_path / "a.xz").write_bytes(lzma.compress(b"text"))
    for path in tmp_path.iterdir():
        with open_binary(path) as file:
            assert file.read() == b"text"


def test_what_is_no_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"one\ntw\xf6\n")
    with pytest.raises(DataError, match=r"text:2: no valid UTF-8 \(byte 6 of the file\)"):
        read_text(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.gz: cannot be read: No such file"):
        open_binary(tmp_path / "nothing.gz")


def test_a_digest_tells_values_apart_that_would_look_the_same_in_a_row() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("ab", "c", None)}) == 4
    assert digest("ab", 1) == digest("ab", 1)
