"""Measures are sums until they are read, and metrics.jsonl has each row once."""

from __future__ import annotations

import json
import math

import pytest
import torch

from seqtrain.criterions.base import LossOutput
from seqtrain.training.metrics import MetricSums, loss_measures


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


@pytest.mark.parametrize("name", ["sample_size", "num_tokens", "num_source_tokens", "num_sentences", "num_updates"])
def test_restored_counts_go_on(name: str) -> None:
    first, second = MetricSums(), MetricSums()
    first.add_number(name, 5)
    second.restore(first.read(), torch.device("cpu"))
    second.add_number(name, 2)
    assert second.read() == {name: 7}
