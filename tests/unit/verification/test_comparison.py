"""What is said of two runs that differ in one thing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from seqtrain.verification.comparison import (
    Finding,
    compare_checkpoints,
    compare_rows,
    compare_states,
    compare_tensors,
)

NAN = torch.tensor([torch.nan, 0.0])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"a": NAN, "b": NAN}, {"a": NAN.clone(), "b": NAN.clone()}, (True, "2 tensors")),
        ({"a": torch.tensor([0.0])}, {"a": torch.tensor([-0.0])}, (False, "1 of 1 tensor, first a: by up to 0")),
        (
            {"a": torch.zeros(2), "b": torch.tensor([1.0, 2.0]), "c": torch.zeros(1)},
            {"a": torch.zeros(2), "b": torch.tensor([1.5, 1.0]), "c": torch.ones(1)},
            (False, "2 of 3 tensors, first b: by up to 1"),
        ),
        ({"a": NAN}, {}, (False, "1 of 1 tensor, first a, which the second run does not have")),
        ({}, {"a": NAN}, (False, "1 of 1 tensor, first a, which the first run does not have")),
        (
            {"a": torch.zeros(2, 1)},
            {"a": torch.zeros(2, dtype=torch.float64)},
            (False, "1 of 1 tensor, first a: (2, 1) torch.float32 and (2,) torch.float64"),
        ),
    ],
    ids=["the same NaN", "another sign of zero", "other values", "missing", "surplus", "another shape"],
)
def test_tensors_are_compared_bit_by_bit(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], expected: tuple[bool, str]
) -> None:
    assert compare_tensors(first, second) == expected


def test_states_are_compared_part_by_part_without_what_a_clock_told() -> None:
    first = {"train": {"num_updates": 8, "training_seconds": 1.5}, "optimizer": {"groups": [{"lr": 0.1}]}}
    second = {"train": {"num_updates": 8, "training_seconds": 9.5}, "optimizer": {"groups": [{"lr": 0.2}]}}
    assert list(compare_states(first, second, where="update 8")) == [
        Finding(
            "update 8",
            "state.json: optimizer",
            False,
            'optimizer.groups is [{"lr": 0.1}] and [{"lr": 0.2}]',
        ),
        Finding("update 8", "state.json: train", True, "1 value"),
    ]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


ROWS = [{"update": update, "loss": 9.0 - update, "tokens_per_second": update, "mfu": 0.1} for update in (3, 6, 9)]


def test_rows_that_differ_in_speed_alone_are_equal(tmp_path: Path) -> None:
    slower = [{**row, "tokens_per_second": 1, "mfu": 0.01} for row in ROWS]
    first, second = write_rows(tmp_path / "first", ROWS), write_rows(tmp_path / "second", slower)
    assert compare_rows(first, second, "metrics.jsonl") == Finding("update 1 to 9", "metrics.jsonl", True, "3 rows")


def test_the_first_row_that_differs_is_named(tmp_path: Path) -> None:
    other = [ROWS[0], {**ROWS[1], "loss": 3.5}, {**ROWS[2], "loss": 0.5}]
    first, second = write_rows(tmp_path / "first", ROWS), write_rows(tmp_path / "second", other)
    assert compare_rows(first, second, "metrics.jsonl") == Finding(
        "update 6", "metrics.jsonl", False, "first here: loss is 3.0 and 3.5"
    )


def test_a_row_too_few_is_named(tmp_path: Path) -> None:
    first, second = write_rows(tmp_path / "first", ROWS), write_rows(tmp_path / "second", ROWS[:2])
    assert compare_rows(first, second, "metrics.jsonl") == Finding(
        "update 9", "metrics.jsonl", False, "3 rows and 2, first odd one here"
    )


def write_folder(folder: Path, *, weight: float = 1.0, words: str = "a 1\n", seed: int = 1) -> Path:
    folder.mkdir()
    save_file({"weight": torch.tensor([weight])}, folder / "model.safetensors")
    (folder / "state.json").write_text(json.dumps({"metric": 0.5}), encoding="utf-8")
    (folder / "config.yaml").write_text(f"training: {{seed: {seed}}}\n", encoding="utf-8")
    (folder / "dict.txt").write_text(words, encoding="utf-8")
    (folder / "manifest.json").write_text(folder.name, encoding="utf-8")
    return folder


def test_checkpoints_are_equal_if_all_but_their_manifests_is(tmp_path: Path) -> None:
    first, second = write_folder(tmp_path / "first"), write_folder(tmp_path / "second")
    assert list(compare_checkpoints(first, second, "update 8")) == [
        Finding("update 8", "config.yaml", True, "1 value"),
        Finding("update 8", "model.safetensors", True, "1 tensor"),
        Finding("update 8", "state.json: metric", True, "1 value"),
        Finding("update 8", "vocabularies", True, "1 file"),
    ]


def test_what_differs_between_checkpoints_is_named(tmp_path: Path) -> None:
    first, second = (
        write_folder(tmp_path / "first"),
        write_folder(tmp_path / "second", weight=2.0, words="b 1\n", seed=2),
    )
    (first / "ema.safetensors").write_bytes((first / "model.safetensors").read_bytes())
    different = [finding for finding in compare_checkpoints(first, second, "update 8") if not finding.is_equal]
    assert different == [
        Finding("update 8", "config.yaml", False, "training.seed is 1 and 2"),
        Finding("update 8", "dict.txt", False, "other bytes"),
        Finding("update 8", "ema.safetensors", False, "the second run has none"),
        Finding("update 8", "model.safetensors", False, "1 of 1 tensor, first weight: by up to 1"),
    ]


def test_checkpoints_that_are_not_there_are_not_equal(tmp_path: Path) -> None:
    first, absent = write_folder(tmp_path / "first"), tmp_path / "second"
    assert list(compare_checkpoints(first, absent, "update 8")) == [
        Finding("update 8", "checkpoint", False, "the second run has none")
    ]
    assert list(compare_checkpoints(absent, absent, "update 8")) == [
        Finding("update 8", "checkpoint", False, "the first and the second run have none")
    ]
