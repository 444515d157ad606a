"""`dataset.json`: sizes and checksums of the files of a data folder that seqtrain wrote.

It is written last, so a folder that has one is complete; and what it lists is compared when it is read, so that a bit
that flipped on a disk is found before a model learns from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from seqtrain.data.files import digest, read_text
from seqtrain.data.records import Records
from seqtrain.errors import DataError
from seqtrain.files import sha256, write_text_atomically

NAME = "dataset.json"
_FORMAT = 2  # 1 had no digest of its own


def write_manifest(folder: Path) -> None:
    """List all files of a folder."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != NAME
    }
    write_text_atomically(folder / NAME, _text(files))


def _text(files: Mapping[str, object]) -> str:
    """The one text of a list, with a digest of its own: any other that means the same was altered."""
    listed = {"format": _FORMAT, "files": files}
    return json.dumps({**listed, "digest": digest(json.dumps(listed))}, indent=1) + "\n"


def checked_digests(folder: Path, names: Iterable[str], *, records: Records | None = None) -> dict[str, str]:
    """The SHA-256 of files of a folder, compared with `dataset.json` where that lists them.

    Args:
        folder: Of the files.
        names: Of the files.
        records: Of digests that are known; without them all files are read.

    Raises:
        DataError: A file is missing, or is not what was written.
    """
    listed = _read(folder)
    digests: dict[str, str] = {}
    for name in names:
        try:
            digests[name] = _checked_digest(folder / name, listed.get(name), records)
        except OSError as error:
            raise DataError(f"{folder / name}: cannot be read: {error.strerror}") from error
    return digests


def _checked_digest(path: Path, entry: Mapping[str, object] | None, records: Records | None) -> str:
    if not path.is_file():
        raise DataError(f"{path}: missing")
    if entry is not None and path.stat().st_size != entry["size"]:
        raise DataError(
            f"{path}: has {path.stat().st_size} bytes instead of {entry['size']}, as {NAME} says",
            remedy="the file was truncated or altered: make the folder again",
        )
    found = sha256(path) if records is None else records.recall(path, "sha256", lambda: sha256(path))
    if entry is not None and found != entry["sha256"]:
        raise DataError(
            f"{path}: its content is not what was written (the checksum differs from {NAME})",
            remedy="the file was altered or the disk is failing: make the folder again",
        )
    return found


def listed_files(folder: Path) -> list[str]:
    """The names of the files that the folder's `dataset.json` lists."""
    return list(_read(folder))


def _read(folder: Path) -> dict[str, dict[str, object]]:
    """The entries by file name; none where the folder has no `dataset.json`."""
    path = folder / NAME
    if not path.is_file():
        return {}
    text = read_text(path)
    try:
        content = json.loads(text)
        files: dict[str, dict[str, object]] = content["files"]
        if content["format"] != _FORMAT or not all({"size", "sha256"} == entry.keys() for entry in files.values()):
            raise DataError(f"{path}: of an unknown format", remedy="make the folder again")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: malformed", remedy="make the folder again") from error
    if text != _text(files):
        raise DataError(f"{path}: was altered: its digest does not fit its content", remedy="make the folder again")
    for name in files:
        if Path(name).name != name:
            raise DataError(f"{path}: names a file outside of its folder: {name!r}")
    return files
