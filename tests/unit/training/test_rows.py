"""Each row of a run's files stands there once, however often the run was interrupted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from seqtrain.training.rows import RowsFile, rewind
from seqtrain.training.run_folder import RunPaths
from seqtrain.training.state import TrainState


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (TrainState(num_updates=20, last_validation_update=20), ["train 10", "train 20", "valid 20"]),
        (TrainState(num_updates=20, last_validation_update=10), ["train 10", "train 20"]),
        (TrainState(num_updates=20, interval_sums={"loss": 1.0}), ["train 10"]),
        (TrainState(num_updates=25, last_validation_update=20), ["train 10", "train 20", "valid 20"]),
    ],
)
def test_rows_that_a_resumed_run_writes_again_are_taken_out(
    tmp_path: Path, state: TrainState, expected: list[str]
) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = RowsFile(path)
    for split, update in [("train", 10), ("train", 20), ("valid", 20), ("train", 30), ("valid", 30)]:
        metrics.append({"split": split, "update": update})
    with path.open("a", encoding="utf-8") as file:
        file.write('{"split": "train", "upd')
    rewind(RunPaths(tmp_path), state)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [f"{row['split']} {row['update']}" for row in rows] == expected


def test_what_is_no_number_is_written_as_null(tmp_path: Path) -> None:
    metrics = RowsFile(tmp_path / "metrics.jsonl")
    metrics.append({"update": 1, "loss": math.nan, "grad_norm": math.inf})
    assert json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8")) == {
        "update": 1,
        "loss": None,
        "grad_norm": None,
    }


def test_batches_of_updates_that_are_made_again_are_taken_out(tmp_path: Path) -> None:
    path = RunPaths(tmp_path).batches
    for update, epoch, first_batch in [(1, 1, 0), (2, 1, 4), (3, 2, 0), (4, 2, 4)]:
        RowsFile(path).append({"update": update, "epoch": epoch, "first_batch": first_batch})
    rewind(RunPaths(tmp_path), TrainState(num_updates=3, epoch=2, next_batch=4))
    assert [json.loads(line)["update"] for line in path.read_text(encoding="utf-8").splitlines()] == [1, 2, 3]
