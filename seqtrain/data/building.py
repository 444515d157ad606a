"""Folders that are filled under another name and then renamed, so that nobody sees a half."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqtrain.files import sync_folder


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """An empty folder beside the target that becomes the target when the `with` block ends well.

    If the target is there by then, because another process made the same, the first one stays. What processes that were
    killed left here is removed.

    Args:
        target: The folder to make; it must not exist, or be empty.

    Raises:
        OSError: The parent folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        _rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _prefix() -> str:
    """What the folders that this machine fills are called, up to the process's number."""
    return f".building-{platform.node()}-"


def _remove_abandoned(parent: Path) -> None:
    for path in parent.glob(f"{_prefix()}*"):
        number = path.name.removeprefix(_prefix()).partition("-")[0]
        if number.isdigit() and not _is_running(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        return
    sync_folder(target.parent)
