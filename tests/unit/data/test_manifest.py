"""Sizes and checksums of a data folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seqtrain.data import manifest
from seqtrain.data.manifest import checked_digests, listed_files, write_manifest
from seqtrain.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.bin").write_bytes(b"tokens")
    (tmp_path / "train.idx").write_bytes(b"index")
    write_manifest(tmp_path)
    return tmp_path


def test_all_files_are_listed_with_size_and_checksum(folder: Path) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    assert content["files"]["train.bin"] == {"size": 6, "sha256": hashlib.sha256(b"tokens").hexdigest()}
    assert listed_files(folder) == ["train.bin", "train.idx"]


def test_intact_files_give_their_digests(folder: Path) -> None:
    assert checked_digests(folder, ["train.idx"]) == {"train.idx": hashlib.sha256(b"index").hexdigest()}


def test_a_folder_without_a_list_is_taken_as_it_is(folder: Path) -> None:
    (folder / "dataset.json").unlink()
    (folder / "train.bin").write_bytes(b"others")
    assert checked_digests(folder, ["train.bin"]) == {"train.bin": hashlib.sha256(b"others").hexdigest()}
    assert listed_files(folder) == []


def test_a_flipped_bit_is_found(folder: Path) -> None:
    (folder / "train.bin").write_bytes(b"tokenr")
    with pytest.raises(DataError, match=r"train\.bin: its content is not what was written"):
        checked_digests(folder, ["train.bin"])


def test_a_truncated_file_is_found(folder: Path) -> None:
    (folder / "train.bin").write_bytes(b"token")
    with pytest.raises(DataError, match=r"train\.bin: has 5 bytes instead of 6"):
        checked_digests(folder, ["train.bin"])


def test_a_missing_file_is_found(folder: Path) -> None:
    (folder / "train.bin").unlink()
    with pytest.raises(DataError, match=r"train\.bin: missing"):
        checked_digests(folder, ["train.bin"])


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"{}", b'{"format": 1, "files": {"a": 1}}', b'{"format": 2, "files": {}}', b"\xff"]
)
def test_a_malformed_list_is_named(folder: Path, content: bytes) -> None:
    (folder / "dataset.json").write_bytes(content)
    with pytest.raises(DataError, match=r"dataset\.json"):
        checked_digests(folder, ["train.bin"])


@pytest.mark.parametrize(
    "alter", [str.strip, lambda text: text.replace("\n", ""), lambda text: text.replace(": 6", ": 7")]
)
def test_an_altered_list_is_found_even_where_it_means_the_same(folder: Path, alter: Callable[[str], str]) -> None:
    path = folder / "dataset.json"
    path.write_text(alter(path.read_text()))
    with pytest.raises(DataError, match=r"dataset\.json: was altered"):
        listed_files(folder)


def test_a_list_that_names_a_file_elsewhere_is_refused(folder: Path) -> None:
    inside = folder / "data"
    inside.mkdir()
    (inside / "dataset.json").write_text(manifest._text({"../train.bin": {"size": 6, "sha256": ""}}))
    with pytest.raises(DataError, match=r"names a file outside of its folder: '\.\./train\.bin'"):
        listed_files(inside)


def test_a_name_that_the_system_does_not_take_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        checked_digests(folder, ["x" * 300])
