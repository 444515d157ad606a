"""Reading files, packed or not, and digests of what they hold."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from pathlib import Path
from typing import IO, cast

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


def digest(*parts: object) -> str:
    """The SHA-256 of some values, told apart by their `repr`, in hexadecimal."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
