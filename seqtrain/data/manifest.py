"""`dataset.json`: sizes and checksums of the files of a data folder that seqtrain wrote.

It is written last, so a folder that has one is complete; and what it lists is compared when it is read, so that a bit
that flipped on a disk is found before a model learns from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from seqtrain.data.files import read_text
from seqtrain.errors import DataError
from seqtrain.files import sha256, write_text_atomically

NAME = "dataset.json"
_FORMAT = 1


def write_manifest(folder: Path) -> None:
    """List all files of a folder."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != NAME
    }
    write_text_atomically(folder / NAME, json.dumps({"format": _FORMAT, "files": files}, indent=1) + "\n")


def checked_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of files of a folder, compared with `dataset.json` where that lists them.

    Raises:
        DataError: A file is missing, or is not what was written.
    """
    listed = _read(folder)
    digests: dict[str, str] = {}
    for name in names:
        path = folder / name
        entry = listed.get(name)
        if not path.is_file():
            raise DataError(f"{path}: missing")
        if entry is not None and path.stat().st_size != entry["size"]:
            raise DataError(
                f"{path}: has {path.stat().st_size} bytes instead of {entry['size']}, as {NAME} says",
                remedy="the file was truncated or altered: make the folder again",
            )
        digests[name] = sha256(path)
        if entry is not None and digests[name] != entry["sha256"]:
            raise DataError(
                f"{path}: its content is not what was written (the checksum differs from {NAME})",
                remedy="the file was altered or the disk is failing: make the folder again",
            )
    return digests


def listed_files(folder: Path) -> list[str]:
    """The names of the files that the folder's `dataset.json` lists."""
    return list(_read(folder))


def _read(folder: Path) -> dict[str, dict[str, object]]:
    """The entries by file name; none where the folder has no `dataset.json`."""
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        content = json.loads(read_text(path))
        files: dict[str, dict[str, object]] = content["files"]
        if content["format"] != _FORMAT or not all({"size", "sha256"} <= entry.keys() for entry in files.values()):
            raise DataError(f"{path}: of an unknown format")
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: malformed", remedy="make the folder again") from error
    return files
