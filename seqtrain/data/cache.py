"""Folders that are made once and found again by what they are made from."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from seqtrain.data.building import building
from seqtrain.data.manifest import checked_digests, listed_files, write_manifest
from seqtrain.data.records import Records
from seqtrain.errors import DataError

logger = logging.getLogger(__name__)

_KEY_LENGTH = 32


def cache_root(configured: str | None) -> Path:
    """The folder of the cache: the configured one, else $SEQTRAIN_CACHE, else `seqtrain` in the user's cache folder."""
    if folder := configured or os.environ.get("SEQTRAIN_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seqtrain"


def cached_folder(root: Path, kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder of a key, made now if it is not there or is damaged.

    It is built under another name and renamed, so two processes may build the same at once: the first to finish wins,
    and neither sees the other's half.

    Args:
        root: The cache.
        kind: What sort of folder, for people who look into the cache.
        key: A digest of all that the content depends on.
        build: Fills an empty folder.

    Raises:
        DataError: The cache cannot be written, or `build` raised it.
    """
    target = root / kind / key[:_KEY_LENGTH]
    if _is_intact(target, Records(root)):
        return target
    try:
        with building(target) as folder:
            build(folder)
            write_manifest(folder)
    except OSError as error:
        raise DataError(
            f"the cache {root} cannot be written: {error.strerror}", remedy="set task.cache=FOLDER or SEQTRAIN_CACHE"
        ) from error
    return target


def _is_intact(folder: Path, records: Records) -> bool:
    if not folder.is_dir():
        return False
    try:
        checked_digests(folder, listed_files(folder), records=records)
    except DataError as error:
        logger.warning("making a damaged folder of the cache again: %s", error.args[0])
        shutil.rmtree(folder)
        return False
    return True
