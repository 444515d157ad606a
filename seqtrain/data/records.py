"""What was found out about large files, kept in the cache so that the next start need not read them again.

A record holds only as long as the file is the same to the system: the same inode, size, time of its last change, and
time of the last change of its inode, which no program can set back. So a file that anything wrote to is read again.
What a failing disk does leaves no trace there: for that, a record is good for `MAX_AGE`, and then the file is read.
Whoever writes a record removes those that are older, of files that may long be gone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from seqtrain.data.files import digest
from seqtrain.files import write_text_atomically

MAX_AGE = 7 * 24 * 3600
"""Seconds."""

MIN_SIZE = 2**26
"""Bytes. What is smaller is read in no time, and always."""

SETTLED = 10 * 10**9
"""Nanoseconds. A file changed later than this before it was read could change again unnoticed: it leaves no record."""

_NAME_LENGTH = 32


class Records:
    """The records of a cache folder; a cache that cannot be written keeps none."""

    def __init__(self, root: Path) -> None:
        """Name the folder.

        Args:
            root: The cache.
        """
        self._folder = root / "records"

    def recall(self, path: Path, question: str, find_out: Callable[[], str]) -> str:
        """The answer to a question on a file's content, from the record if that holds.

        Args:
            path: The file.
            question: What is asked.
            find_out: Reads the file and gives the answer; what it raises is not recorded.
        """
        try:
            state = _state(path)
        except OSError:  # reading the file says so in the reader's own words
            return find_out()
        if state[2] < MIN_SIZE:
            return find_out()
        record = self._folder / f"{digest(str(path.resolve()), question)[:_NAME_LENGTH]}.json"
        known = _read(record)
        if known is not None and known[0] == state and 0 <= time.time() - known[1] < MAX_AGE:
            return known[2]
        now = time.time()
        answer = find_out()
        if _state(path) == state and now * 10**9 - max(state[-2:]) > SETTLED:
            _write(record, [state, now, answer])
        return answer


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _read(record: Path) -> tuple[list[int], float, str] | None:
    """A file's state, the time and the answer; None where there is no record, or none that is whole."""
    try:
        state, when, answer = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    is_record = isinstance(state, list) and isinstance(when, float) and isinstance(answer, str)
    return (state, when, answer) if is_record else None


def _write(record: Path, content: list[object]) -> None:
    with suppress(OSError):  # the answer is known: a record only saves the time of the next start
        record.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(record, json.dumps(content) + "\n")
        _remove_old(record.parent)


def _remove_old(folder: Path) -> None:
    """Remove records that hold no longer. One that another process has just renewed may go too: it is made again."""
    oldest = time.time() - MAX_AGE
    for record in folder.glob("*.json"):
        with suppress(FileNotFoundError):  # another process was faster
            if record.stat().st_mtime < oldest:
                record.unlink()
