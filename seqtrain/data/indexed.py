"""fairseq's memory-mapped token files: `PREFIX.bin` holds the tokens in a row, `PREFIX.idx` where each sequence is.

The index, little-endian: 9 bytes of magic, the version (u64), the code of the number type (u8), the number of sequences
N (u64), their lengths in tokens (i32 each), and where each begins in the other file, in bytes (i64 each).
"""

from __future__ import annotations

import shutil
import struct
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np

from seqtrain.data.tokens import IntArray, TokenTable
from seqtrain.errors import DataError
from seqtrain.files import sync_file, sync_folder

_MAGIC: Final = b"MMIDIDX\x00\x00"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<9sQBQ")
_INTEGERS: Final = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2", 9: "<u4", 10: "<u8"}
_FLOATS: Final = (6, 7)
_CODES: Final = {np.dtype(name): code for code, name in _INTEGERS.items()}
_REMEDY: Final = "the file is damaged or was not written to its end: make the data-bin folder again"
_BLOCK: Final = 2**20


def token_type(vocabulary_size: int) -> np.dtype[np.generic]:
    """The number type in which the tokens of a vocabulary are kept."""
    if vocabulary_size < 65_500:
        return np.dtype("<u2")
    return np.dtype("<u4" if vocabulary_size < 2**32 - 1 else "<i8")


class IndexedTable(TokenTable):
    """The sequences of a pair of files, both mapped into memory: opening it reads nothing, whatever its size."""

    def __init__(
        self, tokens: np.ndarray, lengths: np.ndarray, pointers: np.ndarray, *, fingerprint: str | None = None
    ) -> None:
        """Take the arrays as they are.

        Args:
            tokens: See `TokenTable`.
            lengths: (N,) int32, tokens of each sequence.
            pointers: (N,) int64, the byte at which each begins.
            fingerprint: See `TokenTable`.
        """
        super().__init__(tokens, np.empty(0, np.int64), fingerprint=fingerprint)
        self._lengths = lengths
        self._pointers = pointers
        self._length_parts, self._pointer_parts = _parts(lengths), _parts(pointers)

    @cached_property
    def offsets(self) -> IntArray:
        """See `TokenTable`. Made when it is asked for, of 8 bytes a sequence; training on pairs does without."""
        ends = np.cumsum(self._lengths, dtype=np.int64)
        first = self._pointers[:1].astype(np.int64) // self.tokens.itemsize if len(self) else np.zeros(1, np.int64)
        return np.concatenate([first, first + ends])

    def lengths_of(self, sequences: slice) -> np.ndarray:
        """See `TokenTable`."""
        return self._lengths[sequences].astype(np.int32)

    def locate(self, indices: IntArray) -> tuple[IntArray, IntArray]:
        """See `TokenTable`."""
        starts = self._pointer_parts.take(indices, axis=0).view("<i8")[:, 0] // self.tokens.itemsize
        return starts, self._length_parts.take(indices, axis=0).view("<i4")[:, 0].astype(np.int64)

    def __len__(self) -> int:
        """The number of sequences, N."""
        return len(self._lengths)

    def part(self, start: int, stop: int) -> TokenTable:
        """See `TokenTable`."""
        fingerprint = self._fingerprint_of_part(start, stop)
        return IndexedTable(self.tokens, self._lengths[start:stop], self._pointers[start:stop], fingerprint=fingerprint)


def _parts(numbers: np.ndarray) -> np.ndarray:
    """Numbers of an index file, which stand at even bytes and no rounder ones, as rows of 16-bit parts.

    numpy gathers from an array that is not aligned element by element, at a third of the speed.
    """
    return numbers.view("<u2").reshape(-1, numbers.itemsize // 2)


def open_indexed(
    prefix: Path, *, vocabulary_size: int, fingerprint: str | None = None, is_checked: bool = False
) -> IndexedTable:
    """Map a pair of files into memory, after all that can be wrong with them has been looked for.

    Args:
        prefix: The path of both without their suffixes.
        vocabulary_size: No token may be larger than its last number.
        fingerprint: A digest of both files, if it is known.
        is_checked: Whether the same files were opened before for a vocabulary of this size, so that what they hold need
            not be read.

    Raises:
        DataError: A file is missing, truncated or altered, or belongs to another vocabulary.
    """
    index_path, data_path = _with_suffix(prefix, ".idx"), _with_suffix(prefix, ".bin")
    dtype, lengths, pointers = _map_index(index_path)
    if not is_checked:
        _check_lengths(lengths, index_path)
    if not data_path.is_file():
        raise DataError(f"{data_path}: missing, but {index_path.name} is there", remedy=_REMEDY)
    if not is_checked:
        _check_pointers(lengths, pointers, dtype.itemsize, index_path)
    num_tokens = int(pointers[-1]) // dtype.itemsize + int(lengths[-1]) if len(lengths) else 0
    size = data_path.stat().st_size
    if size != num_tokens * dtype.itemsize:
        expected = f"{index_path.name} tells of {num_tokens} tokens of {dtype.itemsize} bytes"
        raise DataError(f"{data_path}: has {size} bytes, but {expected}", remedy=_REMEDY)
    # a plain view of the map: slicing a memmap object costs three times as much
    tokens = np.asarray(np.memmap(data_path, dtype=dtype, mode="r")) if num_tokens else np.empty(0, dtype)
    table = IndexedTable(tokens, lengths, pointers, fingerprint=fingerprint)
    if not is_checked:
        _check_tokens(table, vocabulary_size, data_path)
    return table


def _map_index(path: Path) -> tuple[np.dtype[np.generic], np.ndarray, np.ndarray]:
    """The number type, and mapped into memory the lengths (N,) in tokens and the pointers (N,) in bytes."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if len(header) < _HEADER.size:
        raise DataError(f"{path}: has {size} bytes, less than the header's {_HEADER.size}", remedy=_REMEDY)
    magic, version, code, num_sequences = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise DataError(
            f"{path}: begins with {magic!r} instead of {_MAGIC!r}: not an index of the mmap format",
            remedy="make the data-bin folder again; with fairseq, --dataset-impl mmap",
        )
    if version != _VERSION:
        raise DataError(f"{path}: version {version} at byte 9 is unknown; there is {_VERSION}", remedy=_REMEDY)
    if code not in _INTEGERS:
        kind = "fractions, not tokens" if code in _FLOATS else "an unknown number type"
        raise DataError(f"{path}: code {code} at byte 17 stands for {kind}", remedy=_REMEDY)
    expected = _HEADER.size + 12 * num_sequences
    if size != expected:
        raise DataError(f"{path}: has {size} bytes, but {num_sequences} sequences take {expected}", remedy=_REMEDY)
    dtype = np.dtype(_INTEGERS[code])
    if num_sequences == 0:
        return dtype, np.empty(0, "<i4"), np.empty(0, "<i8")
    content = np.asarray(np.memmap(path, np.uint8, mode="r", offset=0))
    lengths, pointers = np.split(content[_HEADER.size :], [4 * num_sequences])
    return dtype, lengths.view("<i4"), pointers.view("<i8")


def _check_lengths(lengths: np.ndarray, path: Path) -> None:
    for start in range(0, len(lengths), _BLOCK):
        block = lengths[start : start + _BLOCK]
        if block.min() < 0:
            raise DataError(f"{path}: sequence {start + block.argmin()} has a negative length", remedy=_REMEDY)


def _check_pointers(lengths: np.ndarray, pointers: np.ndarray, itemsize: int, path: Path) -> None:
    """Every sequence begins where the one before ends, and the first at the beginning."""
    end = 0
    for start in range(0, len(lengths), _BLOCK):
        sizes = lengths[start : start + _BLOCK].astype(np.int64) * itemsize
        ends = end + np.cumsum(sizes)
        wrong = np.flatnonzero(pointers[start : start + _BLOCK] != ends - sizes)
        if len(wrong):
            number = start + wrong[0]
            raise DataError(f"{path}: sequence {number} does not begin where the one before ends", remedy=_REMEDY)
        end = int(ends[-1])


def _check_tokens(table: IndexedTable, vocabulary_size: int, path: Path) -> None:
    """Every token has a place in the vocabulary; read block by block, for the file may exceed the memory."""
    tokens = table.tokens
    for start in range(0, len(tokens), _BLOCK):
        block = tokens[start : start + _BLOCK]
        if block.min() >= 0 and block.max() < vocabulary_size:
            continue
        position = start + int(np.argmax((block < 0) | (block >= vocabulary_size)))
        sequence = int(np.searchsorted(table.offsets[1:], position, side="right"))
        raise DataError(
            f"{path}: token {tokens[position]} in sequence {sequence} is outside the vocabulary of {vocabulary_size}",
            remedy="the file is damaged, or was made with another dict.txt",
        )


class IndexedWriter:
    """Writes a pair of files as the sequences come, in bounded memory; they appear when the `with` block ends well."""

    def __init__(self, prefix: Path, *, vocabulary_size: int) -> None:
        self._prefix = prefix
        self._dtype = token_type(vocabulary_size)
        self._num_sequences = 0
        self._data = _temporary(prefix, ".bin").open("wb")
        self._lengths = _temporary(prefix, ".lengths").open("w+b")

    def write(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Append sequences: their tokens in a row, and how many belong to each."""
        self._data.write(tokens.astype(self._dtype).data)
        self._lengths.write(lengths.astype("<i4").data)
        self._num_sequences += len(lengths)

    def __enter__(self) -> Self:
        """Nothing to prepare: the constructor has opened the files."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the files their names, or throw them away if something was raised."""
        try:
            if kind is None:
                self._commit()
        finally:
            self._data.close()
            self._lengths.close()
            for suffix in (".bin", ".lengths", ".idx"):
                _temporary(self._prefix, suffix).unlink(missing_ok=True)

    def _commit(self) -> None:
        with _temporary(self._prefix, ".idx").open("wb") as index:
            index.write(_HEADER.pack(_MAGIC, _VERSION, _CODES[self._dtype], self._num_sequences))
            self._lengths.seek(0)
            shutil.copyfileobj(self._lengths, index)
            self._write_pointers(index)
        self._data.close()
        for suffix in (".bin", ".idx"):  # the index last: a prefix with an index is whole
            sync_file(_temporary(self._prefix, suffix))
            _temporary(self._prefix, suffix).replace(_with_suffix(self._prefix, suffix))
        sync_folder(self._prefix.parent)

    def _write_pointers(self, index: IO[bytes]) -> None:
        self._lengths.seek(0)
        end = 0
        while block := self._lengths.read(4 * _BLOCK):
            sizes = np.frombuffer(block, "<i4").astype(np.int64) * self._dtype.itemsize
            ends = np.cumsum(sizes) + end
            index.write((ends - sizes).astype("<i8").data)
            end = int(ends[-1])


def _with_suffix(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)


def _temporary(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(f".{prefix.name}{suffix}.tmp")
