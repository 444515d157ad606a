"""The files of a run that grow by a JSON object a line: metrics.jsonl and batches.jsonl.

A restarted run continues from its checkpoint, so rows of what it will do again are taken out first: a file then holds
every row once, as if the run had never been interrupted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seqtrain.files import disk_errors, write_text_atomically
from seqtrain.training.run_folder import RunPaths
from seqtrain.training.state import TrainState

Row = Mapping[str, Any]


class RowsFile:
    """A file of rows, appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, row: Row) -> None:
        """Write one row. Numbers that are no numbers become null, which JSON knows.

        Raises:
            DiskError: The disk is full. A resumed run writes the row again.
        """
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        with disk_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean, allow_nan=False) + "\n")

    def keep(self, is_wanted: Callable[[Row], bool]) -> None:
        """Take out the rows that are not wanted, and a last line that was cut off."""
        if not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if (row := _parse(line)) is not None and is_wanted(row)]
        if len(kept) < len(lines):
            write_text_atomically(self._path, "".join(kept))


def rewind(folder: RunPaths, state: TrainState) -> None:
    """Take out of a run's files what the run will write again, when it goes on from a saved state."""

    def is_settled_measure(row: Row) -> bool:
        update = int(row["update"])
        if update < state.num_updates:
            return True
        if row["split"] == "train":
            return update == state.num_updates and not state.interval_sums
        return bool(update == state.last_validation_update)

    def is_settled_batch(row: Row) -> bool:
        return bool((row["epoch"], row["first_batch"]) < (state.epoch, state.next_batch))

    RowsFile(folder.metrics).keep(is_settled_measure)
    RowsFile(folder.batches).keep(is_settled_batch)


def _parse(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "update" in row else None
