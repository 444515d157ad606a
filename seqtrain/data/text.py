"""Text files: plain, `.gz` or `.xz`, UTF-8; a line ends at a line feed and at nothing else."""

from __future__ import annotations

import codecs
import hashlib
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Protocol

from seqtrain.data.files import COMPRESSIONS, digest, open_binary
from seqtrain.data.records import Records
from seqtrain.errors import DataError

_BLOCK = 2**20


class Lines(Protocol):
    """Lines of text: a list, or a file that is read when it is iterated over."""

    def __iter__(self) -> Iterator[str]:
        """The lines, in order; each time from the first."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...


@dataclass(frozen=True)
class _Scan:
    sha256: str
    num_lines: int


class TextFile:
    """The lines of a file, or a range of them.

    Attributes:
        path: The file.
        start: The first line, counted from 0.
        unit: What the file is counted and cut in.
    """

    unit = "lines"

    def __init__(self, path: Path, start: int = 0, stop: int | None = None, *, records: Records | None = None) -> None:
        """Name the lines; nothing is read yet.

        Args:
            path: The file.
            start: The first line, counted from 0.
            stop: The line behind the last; None takes all that follow.
            records: Of files that were counted and digested before.
        """
        self.path = path
        self.start = start
        self._stop = stop
        self._records = records

    def part(self, start: int, stop: int) -> TextFile:
        """The lines start ... stop - 1 of a whole file."""
        return TextFile(self.path, start, stop, records=self._records)

    def __iter__(self) -> Iterator[str]:
        """The lines.

        Raises:
            DataError: One is no UTF-8; file and line are named.
        """
        return islice(read_lines(self.path), self.start, self._stop)

    def __len__(self) -> int:
        """The number of lines."""
        stop = self.size if self._stop is None else min(self._stop, self.size)
        return max(0, stop - self.start)

    @property
    def size(self) -> int:
        """The lines of the whole file."""
        return self._scan.num_lines

    @property
    def fingerprint(self) -> str:
        """A digest of the lines."""
        return digest(self._scan.sha256, self.start, len(self))

    @cached_property
    def _scan(self) -> _Scan:
        if self._records is None:
            return self._read()
        sha256, num_lines = json.loads(
            self._records.recall(self.path, "sha256 and lines", lambda: json.dumps(astuple(self._read())))
        )
        return _Scan(sha256, num_lines)

    def _read(self) -> _Scan:
        sha256 = hashlib.sha256()
        num_lines, block, last = 0, b"", b"\n"
        with open_binary(self.path) as file:
            while block := _read_block(file, self.path):
                sha256.update(block)
                num_lines += block.count(b"\n")
                last = block[-1:]
        return _Scan(sha256.hexdigest(), num_lines + (last != b"\n"))


class TextStream:
    """The characters of a file, or a range of them, as pieces that end with the line break where there is one.

    Attributes:
        path: The file.
        start: The first character, counted from 0.
        unit: What the file is counted and cut in.
    """

    unit = "characters"

    def __init__(self, path: Path, start: int = 0, stop: int | None = None) -> None:
        """Name the characters; nothing is read yet.

        Args:
            path: The file.
            start: The first character, counted from 0.
            stop: The character behind the last; None takes all that follow.
        """
        self.path = path
        self.start = start
        self._stop = stop

    def part(self, start: int, stop: int) -> TextStream:
        """The characters start ... stop - 1 of a whole file."""
        return TextStream(self.path, start, stop)

    def __iter__(self) -> Iterator[str]:
        """The pieces.

        Raises:
            DataError: One is no UTF-8; file and line are named.
        """
        position = 0
        for line in read_lines(self.path, keep_ends=True):
            begin = max(0, self.start - position)
            end = len(line) if self._stop is None else self._stop - position
            if end <= 0:
                return
            position += len(line)
            if piece := line[begin:end]:
                yield piece

    def __len__(self) -> int:
        """The number of pieces."""
        return sum(1 for _ in self)

    @cached_property
    def size(self) -> int:
        """The characters of the whole file."""
        return sum(len(line) for line in read_lines(self.path, keep_ends=True))

    @property
    def fingerprint(self) -> str:
        """A digest of the characters."""
        return digest(TextFile(self.path).fingerprint, self.start, self._stop)


def read_lines(path: Path, *, keep_ends: bool = False) -> Iterator[str]:
    """The lines of a file, without a byte-order mark before the first.

    Args:
        path: Of the file.
        keep_ends: Whether a line holds the line feed that ends it.

    Raises:
        DataError: A line is no UTF-8; file and line are named.
    """
    number, rest = 0, b""
    with open_binary(path) as file:
        while block := _read_block(file, path):
            if number == 0 and not rest:
                block = block.removeprefix(codecs.BOM_UTF8)
            complete, newline, tail = block.rpartition(b"\n")
            if not newline:
                rest += block
                continue
            lines = _decode(rest + complete, path, number).split("\n")
            rest = tail
            number += len(lines)
            yield from (f"{line}\n" for line in lines) if keep_ends else lines
    if rest:
        yield _decode(rest, path, number)


def fingerprint(lines: Lines) -> str:
    """A digest of lines, wherever they come from."""
    if isinstance(lines, TextFile | TextStream):
        return lines.fingerprint
    sha256 = hashlib.sha256()
    for line in lines:
        sha256.update(f"{line}\n".encode())
    return sha256.hexdigest()


def find_text(folder: Path, name: str) -> Path | None:
    """The file of a name, plain or packed; None if there is none."""
    for suffix in COMPRESSIONS:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    return None


def text_names(folder: Path) -> list[str]:
    """The names of a folder's files, without `.gz` and `.xz`, sorted."""
    names = (path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted({name.removesuffix(".gz").removesuffix(".xz") for name in names})


def check_parallel(lines: Iterable[Lines], labels: Iterable[str]) -> None:
    """As many lines on each side.

    Raises:
        DataError: The numbers differ; both are named.
    """
    counts = {label: len(side) for label, side in zip(labels, lines, strict=True)}
    if len(set(counts.values())) > 1:
        raise DataError(
            " but ".join(f"{label} has {count} lines" for label, count in counts.items()),
            remedy="line n of the one must be the translation of line n of the other",
        )


def _read_block(file: IO[bytes], path: Path) -> bytes:
    """The next bytes of an open file; a packed file may turn out to be damaged only here."""
    try:
        return file.read(_BLOCK)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _decode(content: bytes, path: Path, lines_before: int) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = lines_before + content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{line}: no valid UTF-8: byte {content[error.start]:#04x} at column {column}",
            remedy=f"convert the file: iconv -f LATIN1 -t UTF-8 {path.name}",
        ) from error
