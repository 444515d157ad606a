"""Text files: plain, `.gz` or `.xz`, UTF-8; a line ends at a line feed and at nothing else."""

from __future__ import annotations

import codecs
import hashlib
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import IO, Protocol, overload

from seqtrain.data.files import COMPRESSIONS, digest, open_binary
from seqtrain.data.records import Records
from seqtrain.errors import DataError

_BLOCK = 7 * 2**16  # bytes; with what is around them, two of them fit into a pipe of 1 MB


class Lines(Protocol):
    """Lines of text: a list, or a file that is read when it is iterated over."""

    def __iter__(self) -> Iterator[str]:
        """The lines, in order; each time from the first."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...


class JoinedLines(Sequence[str]):
    """Lines in one string, which is encoded, and sent to another process, faster than many.

    Attributes:
        text: The lines, at least one, with a line feed between them.
    """

    def __init__(self, text: str) -> None:
        """Take the text as it is."""
        self.text = text
        self._num_lines = text.count("\n") + 1

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    def __iter__(self) -> Iterator[str]:
        """The lines, in order."""
        return iter(self._lines)

    def __len__(self) -> int:
        """How many there are."""
        return self._num_lines

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        """A line or some."""
        return self._lines[index]


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
        return chain.from_iterable(self.blocks())

    def blocks(self) -> Iterator[JoinedLines]:
        """The lines, half a million bytes of them or a little more at a time.

        Raises:
            DataError: One is no UTF-8; file and line are named.
        """
        position = 0
        for text in _read_blocks(self.path):
            lines = JoinedLines(text.removesuffix("\n"))
            begin = max(0, self.start - position)
            end = len(lines) if self._stop is None else min(self._stop - position, len(lines))
            position += len(lines)
            if begin < end:
                yield lines if end - begin == len(lines) else JoinedLines("\n".join(lines[begin:end]))
            if self._stop is not None and position >= self._stop:
                return

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
    for text in _read_blocks(path):
        *complete, last = text.split("\n")
        yield from (f"{line}\n" for line in complete) if keep_ends else complete
        if last:
            yield last


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


def _read_blocks(path: Path) -> Iterator[str]:
    """The text of some whole lines at a time; each ends with a line feed, but for the last of a file without one."""
    number, rest = 0, b""
    with open_binary(path) as file:
        while block := _read_block(file, path):
            if number == 0 and not rest:
                block = block.removeprefix(codecs.BOM_UTF8)
            end = block.rfind(b"\n") + 1
            if end == 0:
                rest += block
                continue
            text = _decode(rest + block[:end], path, number)
            rest = block[end:]
            number += text.count("\n")
            yield text
    if rest:
        yield _decode(rest, path, number)


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
