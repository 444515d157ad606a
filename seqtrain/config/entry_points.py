"""The plug-ins that installed packages bring along, by the entry-point group `seqtrain.plugins`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "seqtrain.plugins"


def installed_entry_points(import_path: Iterable[str]) -> tuple[EntryPoint, ...]:
    """The entry points of the group.

    Hardly anybody has one, and `importlib.metadata`, which reads e-mail headers, is slow to import: it is asked only
    where a file of entry points has the name of the group in it.

    Args:
        import_path: What sys.path holds.
    """
    if not any(_may_hold_one(folder) for folder in import_path):
        return ()
    from importlib.metadata import entry_points

    return tuple(entry_points(group=GROUP))


def _may_hold_one(folder: str) -> bool:
    """Whether a place in the import path has a package with such entry points, or is no folder that could be read."""
    try:
        with os.scandir(folder or ".") as entries:
            metadata = [entry.path for entry in entries if entry.name.endswith((".dist-info", ".egg-info", ".egg"))]
    except FileNotFoundError:
        return False
    except OSError:  # a zip file
        return True
    return any(path.endswith(".egg") or _names_the_group(Path(path, "entry_points.txt")) for path in metadata)


def _names_the_group(file: Path) -> bool:
    try:
        return f"[{GROUP}]".encode() in file.read_bytes()
    except OSError:
        return False
