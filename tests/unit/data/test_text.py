"""Lines of text files."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data import text
from seqtrain.data.text import (
    JoinedLines,
    TextFile,
    TextStream,
    check_parallel,
    find_text,
    fingerprint,
    read_lines,
    text_names,
)
from seqtrain.errors import DataError

LINES = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=6), max_size=12)


def write(folder: Path, content: bytes, name: str = "train.en") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b" a \r\nb\r\n", [" a \r", "b\r"]),
        ("a\u2028b\x0b\x0c\x1c\x85c\r\nd\n".encode(), ["a\u2028b\x0b\x0c\x1c\x85c\r", "d"]),
        (b"a\x00b\n", ["a\x00b"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
    ],
)
def test_a_line_ends_at_the_line_feed_alone(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    file = TextFile(write(tmp_path, content))
    assert list(file) == lines
    assert len(file) == len(lines)


@settings(max_examples=60, deadline=None)
@given(lines=LINES, block=st.integers(1, 7))
def test_lines_do_not_depend_on_how_a_file_is_read(
    lines: list[str], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = "".join(f"{line}\n" for line in lines).encode().removeprefix(b"\xef\xbb\xbf")
    expected = content.decode().split("\n")[:-1]
    path = write(tmp_path_factory.mktemp("text"), content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_BLOCK", max(block, 3))  # a byte-order mark is looked for in the first block
        assert list(read_lines(path)) == expected
        assert "".join(read_lines(path, keep_ends=True)) == content.decode()
        assert len(TextFile(path)) == len(expected)
        assert list(TextStream(path)) == [f"{line}\n" for line in expected]


def test_packed_text_is_text(tmp_path: Path) -> None:
    plain = TextFile(write(tmp_path, b"a\nb\n"))
    gz = TextFile(write(tmp_path, gzip.compress(b"a\nb\n"), "train.en.gz"))
    xz = TextFile(write(tmp_path, lzma.compress(b"a\nb\n"), "train.en.xz"))
    assert list(plain) == list(gz) == list(xz) == ["a", "b"]
    assert plain.fingerprint == gz.fingerprint == xz.fingerprint


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_damaged_packed_file_is_named(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    content = pack(b"some lines of text\n" * 100)
    suffix = "gz" if pack is gzip.compress else "xz"
    path = write(tmp_path, content[:-20], f"train.en.{suffix}")
    with pytest.raises(DataError, match=rf"train\.en\.{suffix}: cannot be read"):
        list(read_lines(path))


def test_what_is_no_utf8_is_named_with_line_and_column(tmp_path: Path) -> None:
    path = write(tmp_path, b"good\n" * 3 + b"b\xe4d\n")
    with pytest.raises(DataError, match=r"train\.en:4: no valid UTF-8: byte 0xe4 at column 2"):
        list(TextFile(path))


def test_the_line_is_right_beyond_the_first_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_BLOCK", 8)
    with pytest.raises(DataError, match=r"train\.en:8: "):
        list(TextFile(write(tmp_path, b"good\n" * 7 + b"b\xe4d")))


def test_a_part_of_a_file_is_a_range_of_lines(tmp_path: Path) -> None:
    file = TextFile(write(tmp_path, b"a\nb\nc\nd\n"))
    first, second = file.part(0, 3), file.part(3, 4)
    assert (list(first), len(first)) == (["a", "b", "c"], 3)
    assert (list(second), len(second)) == (["d"], 1)
    assert len({file.fingerprint, first.fingerprint, second.fingerprint}) == 3


@settings(max_examples=60, deadline=None)
@given(lines=LINES, bounds=st.tuples(st.integers(0, 12), st.integers(0, 14)), block=st.integers(3, 20))
def test_blocks_are_the_lines_of_a_part(
    lines: list[str], bounds: tuple[int, int], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = "".join(f"{line}\n" for line in lines).removeprefix("\ufeff")
    start, stop = bounds
    expected = content.split("\n")[:-1][start:stop]
    part = TextFile(write(tmp_path_factory.mktemp("text"), content.encode())).part(start, stop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_BLOCK", block)
        blocks = list(part.blocks())
    assert [line for joined in blocks for line in joined] == expected
    assert [len(joined) for joined in blocks] == [len(list(joined)) for joined in blocks]
    assert all(len(joined) for joined in blocks)
    assert len(part) == len(expected) == len(list(part))


def test_joined_lines_are_a_sequence() -> None:
    lines = JoinedLines("a\n\nb")
    assert (len(lines), lines[2], lines[:2], list(lines)) == (3, "b", ["a", ""], ["a", "", "b"])
    assert list(JoinedLines("")) == [""]


def test_a_part_of_a_stream_is_a_range_of_characters(tmp_path: Path) -> None:
    stream = TextStream(write(tmp_path, "äb\ncde\nf".encode()))
    assert stream.size == 8
    assert list(stream.part(0, 5)) == ["äb\n", "cd"]
    assert list(stream.part(5, 8)) == ["e\n", "f"]
    assert len(stream.part(0, 5)) == 2


def test_fingerprints_of_lists_tell_lines_apart() -> None:
    assert fingerprint(["a", "b"]) == fingerprint(["a", "b"])
    assert len({fingerprint(lines) for lines in (["a", "b"], ["ab"], ["a b"], ["b", "a"], [])}) == 5


def test_files_are_found_packed_or_not(tmp_path: Path) -> None:
    write(tmp_path, b"", "train.en.gz")
    write(tmp_path, b"", "train.de")
    write(tmp_path, b"", ".hidden")
    assert find_text(tmp_path, "train.en") == tmp_path / "train.en.gz"
    assert find_text(tmp_path, "train.de") == tmp_path / "train.de"
    assert find_text(tmp_path, "train.fr") is None
    assert text_names(tmp_path) == ["train.de", "train.en"]


def test_sides_of_different_length_are_refused_with_both_counts() -> None:
    with pytest.raises(DataError, match=r"train\.en has 2 lines but train\.de has 1 lines"):
        check_parallel([["a", "b"], ["a"]], ["train.en", "train.de"])
