"""Records of large files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from seqtrain.data import records
from seqtrain.data.databin import open_tokens
from seqtrain.data.indexed import IndexedWriter
from seqtrain.data.records import MAX_AGE, Records
from seqtrain.data.text import TextFile
from seqtrain.data.tokens import TokenTable
from seqtrain.errors import DataError


class Reader:
    """Reads a file and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return self.path.read_text()


@pytest.fixture(autouse=True)
def small_files_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MIN_SIZE", 1)
    monkeypatch.setattr(records, "SETTLED", 0)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "file").write_text("content")
    return Reader(tmp_path / "file")


def ask(reader: Reader, root: Path, question: str = "what") -> str:
    return Records(root).recall(reader.path, question, reader)


def test_a_file_is_read_once(reader: Reader, tmp_path: Path) -> None:
    assert [ask(reader, tmp_path / "cache") for _ in range(3)] == ["content"] * 3
    assert reader.count == 1
    assert ask(reader, tmp_path / "cache", "something else") == "content"
    assert reader.count == 2


def test_a_small_file_is_always_read(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MIN_SIZE", 8)
    assert [ask(reader, tmp_path / "cache") for _ in range(2)] == ["content"] * 2
    assert reader.count == 2


def test_a_file_that_changed_just_now_gets_no_record(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "SETTLED", 10**12)
    ask(reader, tmp_path / "cache")
    ask(reader, tmp_path / "cache")
    assert reader.count == 2


def test_a_file_that_was_written_to_is_read_again_even_if_its_time_was_set_back(reader: Reader, tmp_path: Path) -> None:
    ask(reader, tmp_path / "cache")
    before = reader.path.stat()
    reader.path.write_text("CONTENT")
    os.utime(reader.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ask(reader, tmp_path / "cache") == "CONTENT"


def test_a_file_in_the_place_of_another_is_read(reader: Reader, tmp_path: Path) -> None:
    ask(reader, tmp_path / "cache")
    (tmp_path / "other").write_text("another")
    (tmp_path / "other").replace(reader.path)
    assert ask(reader, tmp_path / "cache") == "another"


def test_an_old_record_is_made_again(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(reader, tmp_path / "cache")
    later = time.time() + MAX_AGE
    monkeypatch.setattr(time, "time", lambda: later)
    ask(reader, tmp_path / "cache")
    ask(reader, tmp_path / "cache")
    assert reader.count == 2


def test_records_that_hold_no_longer_are_removed_when_another_is_written(reader: Reader, tmp_path: Path) -> None:
    for question in ("first", "second"):
        ask(reader, tmp_path / "cache", question)
    folder = tmp_path / "cache" / "records"
    old, young = sorted(folder.iterdir())
    long_ago = time.time() - MAX_AGE - 60
    os.utime(old, (long_ago, long_ago))
    (folder / "note.txt").write_text("of somebody else")
    os.utime(folder / "note.txt", (long_ago, long_ago))
    ask(reader, tmp_path / "cache", "third")
    left = set(folder.iterdir())
    assert old not in left
    assert {young, folder / "note.txt"} < left
    assert len(left) == 3


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", "[1, 2, 3]", "[[1], 2.0, 3]", "null", "[" * 100_000])
def test_a_damaged_record_is_none(reader: Reader, tmp_path: Path, content: str) -> None:
    ask(reader, tmp_path / "cache")
    (record,) = (tmp_path / "cache" / "records").iterdir()
    record.write_text(content)
    assert ask(reader, tmp_path / "cache") == "content"
    assert reader.count == 2
    assert json.loads(record.read_text())[2] == "content"


def test_a_cache_that_cannot_be_written_keeps_none(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert [ask(reader, tmp_path / "cache") for _ in range(2)] == ["content"] * 2


def test_what_find_out_raises_is_not_recorded(tmp_path: Path, reader: Reader) -> None:
    def fail() -> str:
        raise DataError("damaged")

    with pytest.raises(DataError, match="damaged"):
        Records(tmp_path / "cache").recall(reader.path, "what", fail)
    assert ask(reader, tmp_path / "cache") == "content"


def test_a_text_is_known_by_its_record(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a\nb\n")
    known = Records(tmp_path / "cache")
    for _ in range(2):
        file = TextFile(path, records=known)
        assert (len(file), file.fingerprint) == (2, TextFile(path).fingerprint)
        assert file.part(1, 2).fingerprint == TextFile(path, 1, 2).fingerprint
    path.write_text("a\nb\nc\n")
    assert len(TextFile(path, records=known)) == 3


def test_token_files_with_a_record_are_as_without_and_damage_is_found(tmp_path: Path) -> None:
    table = TokenTable.from_lists([[4, 2], [5, 6, 2]])
    with IndexedWriter(tmp_path / "train", vocabulary_size=100) as writer:
        writer.write(table.tokens, table.lengths)
    known = Records(tmp_path / "cache")
    plain = open_tokens(tmp_path / "train", 7)
    for _ in range(2):
        opened = open_tokens(tmp_path / "train", 7, records=known)
        assert opened.fingerprint == plain.fingerprint
        assert [opened[number].tolist() for number in range(2)] == [[4, 2], [5, 6, 2]]
    with pytest.raises(DataError, match="token 6 in sequence 1 is outside the vocabulary of 6"):
        open_tokens(tmp_path / "train", 6, records=known)
    content = bytearray((tmp_path / "train.bin").read_bytes())
    content[4] = 99
    (tmp_path / "train.bin").write_bytes(content)
    with pytest.raises(DataError, match="token 99 in sequence 1 is outside the vocabulary of 7"):
        open_tokens(tmp_path / "train", 7, records=known)
