"""Small things about files: writing them whole or not at all, reading them compressed or not, digests."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
from pathlib import Path
from typing import IO, Any, cast

from seqtrain.errors import DataError

COMPRESSIONS = ("", ".gz", ".xz")


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading bytes; `.gz` and `.xz` are unpacked on the way.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    try:
        if path.suffix == ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        if path.suffix == ".xz":
            return cast(IO[bytes], lzma.open(path, "rb"))
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """The whole text of a small UTF-8 file.

    Raises:
        DataError: The file cannot be read, or is no UTF-8.
    """
    with open_binary(path) as file:
        content = file.read()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: no valid UTF-8 (byte {error.start} of the file)") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, whenever the power fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            flush(file)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def flush(file: IO[Any]) -> None:
    """Bring what was written to the disk itself."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk itself."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*parts: object) -> str:
    """The SHA-256 of some values, told apart by their `repr`, in hexadecimal."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
