"""The program for the first day on a GPU runs on a CPU too, as far as there is something to run."""

from __future__ import annotations

import argparse

import pytest
import torch

from benchmarks.cuda_levers import CHUNK_BYTES, Clock, loss, markdown, products
from seqtrain.nn.linear_cross_entropy import _CHUNK_BYTES


@pytest.fixture
def options() -> argparse.Namespace:
    return argparse.Namespace(tokens=[16], types=20, dtype=torch.float32)


@pytest.fixture
def clock() -> Clock:
    return Clock(torch.device("cpu"), seconds=0.0)


def test_products_are_measured_for_each_layer_and_direction(options: argparse.Namespace, clock: Clock) -> None:
    rows = list(products(clock, options))
    assert len(rows) == 2 * 4 * 3
    assert {row["product"] for row in rows} == {"y = x W'", "dx = dy W", "dW = dy' x"}


def test_the_loss_is_measured_for_each_size_and_left_as_it_was(options: argparse.Namespace, clock: Clock) -> None:
    before = dict(_CHUNK_BYTES)
    rows = list(loss(clock, options))
    assert len(rows) == 2 * len(CHUNK_BYTES)
    assert before == _CHUNK_BYTES


def test_a_table_has_a_column_for_each_key() -> None:
    assert markdown([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]).splitlines() == [
        "| a | b |",
        "|---|---|",
        "| 1 | x |",
        "| 2 | y |",
    ]
