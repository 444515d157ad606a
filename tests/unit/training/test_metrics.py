"""Measures are sums until they are read, and metrics.jsonl has each row once."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from seqtrain.criterions.base import LossOutput
from seqtrain.training.metrics import MetricsFile, MetricSums, loss_measures
from seqtrain.training.state import TrainState


def test_losses_are_in_bits_per_sample_and_per_token() -> None:
    sums = MetricSums()
    for loss, nll, size in [(2.0, 1.0, 3), (4.0, 3.0, 5)]:
        output = LossOutput(torch.tensor(loss), size, {"nll_loss": torch.tensor(nll)})
        sums.add_output(output, num_tokens=2 * size, num_sentences=1)
    measures = loss_measures(sums.read())
    assert math.isclose(measures["loss"], 6.0 / 8 / math.log(2))
    assert math.isclose(measures["nll_loss"], 4.0 / 16 / math.log(2))


def test_restored_sums_go_on_to_the_bit() -> None:
    values = torch.rand(6, dtype=torch.float32)
    whole, first, second = MetricSums(), MetricSums(), MetricSums()
    for index, value in enumerate(values):
        whole.add("loss", value)
        if index < 3:
            first.add("loss", value)
    second.restore(json.loads(json.dumps(first.read())), torch.device("cpu"))
    for value in values[3:]:
        second.add("loss", value)
    assert second.read() == whole.read()


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
    metrics = MetricsFile(path)
    for split, update in [("train", 10), ("train", 20), ("valid", 20), ("train", 30), ("valid", 30)]:
        metrics.append({"split": split, "update": update})
    with path.open("a", encoding="utf-8") as file:
        file.write('{"split": "train", "upd')
    metrics.rewind(state)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [f"{row['split']} {row['update']}" for row in rows] == expected


def test_what_is_no_number_is_written_as_null(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.append({"update": 1, "loss": math.nan, "grad_norm": math.inf})
    assert json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8")) == {
        "update": 1,
        "loss": None,
        "grad_norm": None,
    }
