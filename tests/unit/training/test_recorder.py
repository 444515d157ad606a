"""Rows about updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from seqtrain.testing.fakes import TinyModel, TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.progress import Display
from seqtrain.training.recorder import Outputs, Recorder
from seqtrain.training.state import TrainState
from seqtrain.training.utilization import Utilization


class Rows:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def append(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)


def row_of(task: TinyTask, utilization: Utilization | None) -> Mapping[str, Any]:
    """The row of one update of 60 source tokens and 100 target tokens in two seconds."""
    written = Rows()
    recorder = Recorder(task, SingleProcess(), Outputs([written], Display(), utilization=utilization))
    numbers = {"num_updates": 1, "num_sentences": 10, "num_source_tokens": 60, "num_tokens": 100, "sample_size": 100}
    for name, number in {**numbers, "seconds": 2.0}.items():
        recorder.sums.add_number(name, number)
    for name in ("loss", "grad_norm", "num_skipped"):
        recorder.sums.add(name, torch.tensor(0.0))
    recorder.write_updates(TrainState(), 0.1)
    (row,) = written.rows
    return row


def test_a_row_tells_the_share_of_the_peak_where_that_is_known() -> None:
    task = TinyTask(num_letters=8)
    model = TinyModel(task, width=8)  # an output layer of 96 weights: 6 * 96 operations for a token
    assert row_of(task, Utilization(model, peak=6 * 96 * 100))["mfu"] == pytest.approx(0.5)


def test_a_row_says_nothing_of_a_peak_that_is_not_known() -> None:
    row = row_of(TinyTask(), None)
    assert row["tokens_per_second"] == 50
    assert "mfu" not in row
