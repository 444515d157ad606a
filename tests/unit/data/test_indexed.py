"""fairseq's token files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.indexed import IndexedWriter, open_indexed, token_type
from seqtrain.data.tokens import TokenTable
from seqtrain.errors import DataError

BIN = bytes.fromhex("04000500020006000200")
IDX = bytes.fromhex(
    "4d4d494449445800000100000000000000080200000000000000030000000200000000000000000000000600000000000000"
)
"""The sequences [4, 5, 2] and [6, 2], by hand from the description of the format."""


def write(folder: Path, *, idx: bytes = IDX, data: bytes = BIN) -> Path:
    (folder / "train.idx").write_bytes(idx)
    (folder / "train.bin").write_bytes(data)
    return folder / "train"


def save(prefix: Path, table: TokenTable, vocabulary_size: int) -> None:
    with IndexedWriter(prefix, vocabulary_size=vocabulary_size) as writer:
        writer.write(table.tokens, table.lengths)


def test_files_by_hand_are_read(tmp_path: Path) -> None:
    table = open_indexed(write(tmp_path), vocabulary_size=7)
    assert [table[number].tolist() for number in range(len(table))] == [[4, 5, 2], [6, 2]]


def test_files_by_hand_are_written(tmp_path: Path) -> None:
    with IndexedWriter(tmp_path / "train", vocabulary_size=100) as writer:
        writer.write(np.array([4, 5, 2]), np.array([3]))
        writer.write(np.array([6, 2]), np.array([2]))
    assert (tmp_path / "train.bin").read_bytes() == BIN
    assert (tmp_path / "train.idx").read_bytes() == IDX
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.bin", "train.idx"]


@pytest.mark.parametrize(
    ("size", "name"), [(100, "<u2"), (65_499, "<u2"), (65_500, "<u4"), (2**32 - 2, "<u4"), (2**32 - 1, "<i8")]
)
def test_the_number_type_is_the_smallest_that_fairseq_takes(size: int, name: str) -> None:
    assert token_type(size) == np.dtype(name)


@settings(max_examples=40, deadline=None)
@given(
    sequences=st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=8),
    vocabulary_size=st.sampled_from([100, 70_000, 2**32]),
)
def test_what_is_written_is_read(
    sequences: list[list[int]], vocabulary_size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prefix = tmp_path_factory.mktemp("tokens") / "train"
    save(prefix, TokenTable.from_lists(sequences), vocabulary_size)
    table = open_indexed(prefix, vocabulary_size=vocabulary_size)
    assert [table[number].tolist() for number in range(len(table))] == sequences


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 8, 9, 10])
def test_every_integer_type_is_read(tmp_path: Path, code: int) -> None:
    dtype = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2", 9: "<u4", 10: "<u8"}[code]
    itemsize = np.dtype(dtype).itemsize
    index = IDX[:17] + bytes([code]) + IDX[18:34] + struct.pack("<2q", 0, 3 * itemsize)
    table = open_indexed(write(tmp_path, idx=index, data=np.array([4, 5, 2, 6, 2], dtype).tobytes()), vocabulary_size=7)
    assert table[0].tolist() == [4, 5, 2]
    assert table[0].dtype == np.int64


def altered(position: int, replacement: bytes) -> bytes:
    return IDX[:position] + replacement + IDX[position + len(replacement) :]


@pytest.mark.parametrize(
    ("idx", "data", "fault"),
    [
        (IDX[:20], BIN, r"train\.idx: has 20 bytes, less than the header's 26"),
        (b"", BIN, r"train\.idx: has 0 bytes"),
        (altered(0, b"TNTIDX\0\0\0"), BIN, r"train\.idx: begins with b'TNTIDX.*not an index of the mmap format"),
        (altered(9, b"\x02"), BIN, r"train\.idx: version 2 at byte 9 is unknown"),
        (altered(17, b"\x06"), BIN, r"train\.idx: code 6 at byte 17 stands for fractions"),
        (altered(17, b"\x63"), BIN, r"train\.idx: code 99 at byte 17 stands for an unknown"),
        (altered(18, b"\x03"), BIN, r"train\.idx: has 50 bytes, but 3 sequences take 62"),
        (altered(18, b"\xff" * 8), BIN, r"train\.idx: has 50 bytes, but 18446744073709551615 sequences"),
        (IDX[:-1], BIN, r"train\.idx: has 49 bytes, but 2 sequences take 50"),
        (IDX + b"\0", BIN, r"train\.idx: has 51 bytes"),
        (altered(26, b"\xff" * 4), BIN, r"train\.idx: sequence 0 has a negative length"),
        (altered(34, b"\x02"), BIN, r"train\.idx: sequence 0 does not begin where the one before ends"),
        (altered(42, b"\x08"), BIN, r"train\.idx: sequence 1 does not begin where the one before ends"),
        (IDX, BIN[:-1], r"train\.bin: has 9 bytes, but train\.idx tells of 5 tokens of 2 bytes"),
        (IDX, BIN + b"\0\0", r"train\.bin: has 12 bytes"),
        (IDX, b"", r"train\.bin: has 0 bytes"),
        (IDX, BIN[:6] + b"\x07\x00" + BIN[8:], r"train\.bin: token 7 in sequence 1 is outside the vocabulary of 7"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path: Path, idx: bytes, data: bytes, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        open_indexed(write(tmp_path, idx=idx, data=data), vocabulary_size=7)


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    prefix = write(tmp_path)
    (tmp_path / "train.bin").unlink()
    with pytest.raises(DataError, match=r"train\.bin: missing, but train\.idx is there"):
        open_indexed(prefix, vocabulary_size=7)
    (tmp_path / "train.idx").unlink()
    with pytest.raises(DataError, match=r"train\.idx: cannot be read"):
        open_indexed(prefix, vocabulary_size=7)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=80), keep_magic=st.booleans())
def test_no_content_of_an_index_gets_through_unchecked(
    content: bytes, keep_magic: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    prefix = write(folder, idx=IDX[:17] + content if keep_magic else content)
    try:
        table = open_indexed(prefix, vocabulary_size=7)
    except DataError:
        return
    assert int(table.offsets[-1]) == len(table.tokens)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write_and_fail() -> None:
        with IndexedWriter(tmp_path / "train", vocabulary_size=100) as writer:
            writer.write(np.array([4]), np.array([1]))
            raise DataError("half way")

    with pytest.raises(DataError, match="half way"):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    prefix = write(tmp_path)
    with pytest.raises(KeyboardInterrupt), IndexedWriter(prefix, vocabulary_size=100):
        raise KeyboardInterrupt
    assert (tmp_path / "train.bin").read_bytes() == BIN
    assert (tmp_path / "train.idx").read_bytes() == IDX


def test_a_file_knows_its_sequences_as_a_table_in_memory_does(tmp_path: Path) -> None:
    table = TokenTable.from_lists([[4, 2], [], [5, 6, 2], [7, 2]])
    save(tmp_path / "train", table, 100)
    opened = open_indexed(tmp_path / "train", vocabulary_size=100)
    for one, other in ((opened, table), (opened.part(1, 3), table.part(1, 3)), (opened.part(2, 2), table.part(2, 2))):
        assert len(one) == len(other)
        assert one.lengths.tolist() == other.lengths.tolist()
        assert one.lengths_of(slice(1, 9)).tolist() == other.lengths_of(slice(1, 9)).tolist()
        indices = np.arange(len(one))[::-1]
        assert [part.tolist() for part in one.locate(indices)] == [part.tolist() for part in other.locate(indices)]
    assert opened.offsets.tolist() == table.offsets.tolist()
    assert opened.part(1, 3).offsets.tolist() == table.part(1, 3).offsets.tolist()


def test_files_that_were_checked_before_are_not_read_again(tmp_path: Path) -> None:
    prefix = write(tmp_path, data=BIN[:6] + b"\x07\x00" + BIN[8:])
    assert open_indexed(prefix, vocabulary_size=7, is_checked=True)[1].tolist() == [7, 2]
    write(tmp_path, data=BIN[:-2])
    with pytest.raises(DataError, match="has 8 bytes"):
        open_indexed(prefix, vocabulary_size=7, is_checked=True)
