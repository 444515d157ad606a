"""The average of checkpoints is that of their weights, of the right checkpoints, and of nothing that does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seqtrain.config.root import AverageConfig, Choice
from seqtrain.errors import CheckpointError
from seqtrain.training.averaging import average_checkpoints, average_tensors, choose_checkpoints
from seqtrain.training.checkpoint import Checkpoint, CheckpointContent, checkpoint_name, write_checkpoint

CONFIG = "task: {_name: tiny}\nmodel: {_name: tiny, width: 8}\nvalidation: {maximize: false}\n"


def write(folder: Path, num_updates: int, weight: Tensor, **other: Any) -> Path:
    words = other.pop("words", "a 1\n")

    def save_assets(folder: Path) -> None:
        (folder / "dict.txt").write_text(words, encoding="utf-8")

    content = {
        "model": {"weight": weight, "count": torch.tensor(num_updates)},
        "criterion": {},
        "optimizer": {"weight/step": torch.tensor(1.0)},
        "state": {"train": {"num_updates": num_updates}, "metric": other.pop("metric", None)},
        "config": CONFIG,
        "save_assets": save_assets,
        "ema": {"weight": 10 * weight, "count": torch.tensor(num_updates)},
    }
    path = folder / checkpoint_name(num_updates)
    write_checkpoint(path, CheckpointContent(**{**content, **other}))
    return path


def test_each_tensor_is_the_mean_in_its_own_number_format() -> None:
    members = [
        ("a", {"weight": torch.tensor([1.0, 2.0]), "half": torch.tensor([1.0], dtype=torch.bfloat16)}),
        ("b", {"weight": torch.tensor([2.0, 6.0]), "half": torch.tensor([2.0], dtype=torch.bfloat16)}),
    ]
    mean = average_tensors(members)
    assert mean["weight"].tolist() == [1.5, 4.0]
    assert mean["half"].dtype is torch.bfloat16
    assert mean["half"].item() == 1.5


def test_it_is_summed_in_float64() -> None:
    values = [1e8, 1.0, -1e8, 1.0, 1.0]  # in float32, 1e8 + 1 = 1e8
    mean = average_tensors((str(value), {"weight": torch.tensor([value])}) for value in values)
    assert mean["weight"].item() == torch.tensor(3 / 5).item()


def test_the_mean_of_one_is_itself_to_the_bit() -> None:
    weight = torch.randn(100)
    assert torch.equal(average_tensors([("a", {"weight": weight})])["weight"], weight)


def test_counts_are_those_of_the_checkpoint_with_the_most_updates(tmp_path: Path) -> None:
    folders = [write(tmp_path, number, torch.full((2,), float(number))) for number in (30, 10, 20)]
    assert average_checkpoints(folders, tmp_path / "mean")[-1].name == "update_00000030"
    mean = Checkpoint(tmp_path / "mean")
    assert mean.model["weight"].tolist() == [20.0, 20.0]
    assert mean.model["count"].item() == 30
    assert mean.state["average"]["num_updates"] == [10, 20, 30]
    assert (mean.folder / "dict.txt").read_text(encoding="utf-8") == "a 1\n"
    assert mean.config == CONFIG
    assert mean.ema is None


def test_averages_can_be_averaged(tmp_path: Path) -> None:
    folders = [write(tmp_path, number, torch.full((2,), float(number))) for number in (10, 20, 40)]
    average_checkpoints(folders[:2], tmp_path / "mean")
    average_checkpoints([folders[2], tmp_path / "mean"], tmp_path / "mean of mean")
    assert Checkpoint(tmp_path / "mean of mean").model["weight"].tolist() == [27.5, 27.5]


def test_the_moving_averages_of_checkpoints_can_be_averaged(tmp_path: Path) -> None:
    folder = write(tmp_path, 10, torch.tensor([3.0]))
    average_checkpoints([folder], tmp_path / "mean", use_ema=True)
    assert Checkpoint(tmp_path / "mean").model["weight"].tolist() == [30.0]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"config": CONFIG.replace("8", "9")}, "do not fit together: they have another model"),
        ({"config": CONFIG.replace("task: {_name: tiny", "task: {_name: other")}, "they have another task"),
        ({"words": "b 1\n"}, r"they have another dict\.txt"),
        ({"model": {"weight": torch.zeros(3), "count": torch.tensor(1)}}, r"weight is \(2,\) in the first and \(3,\)"),
        ({"model": {"bias": torch.zeros(2)}}, "are of different models: only one has bias"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    folders = [write(tmp_path, 10, torch.zeros(2)), write(tmp_path, 20, torch.zeros(2), **other)]
    with pytest.raises(CheckpointError, match=message):
        average_checkpoints(folders, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, 10, torch.zeros(2))
    with pytest.raises(CheckpointError, match=r"update_00000010 exists"):
        average_checkpoints([folder], folder)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with checkpoints of updates 10, 20 ... 60, each but one with a metric."""
    for number, metric in zip(range(10, 70, 10), (5.0, 2.0, None, 1.0, 4.0, 3.0), strict=True):
        write(tmp_path / "run/checkpoints", number, torch.zeros(2), metric=metric)
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"num": 2}, [60, 50]),
        ({"num": 2, "choose": Choice.best}, [40, 20]),
        ({"num": None, "choose": Choice.best}, [40, 20, 60, 50, 10]),
        ({"num": None, "first_update": 20, "last_update": 40}, [40, 30, 20]),
        ({"num": 1, "last_update": 39}, [30]),
        ({"num": 1, "choose": Choice.best, "first_update": 50}, [60]),
    ],
)
def test_checkpoints_of_a_run_are_chosen(run: Path, settings: dict[str, Any], expected: list[int]) -> None:
    chosen = choose_checkpoints(AverageConfig(run=str(run), output="mean", **settings))
    assert [path.name for path in chosen] == [checkpoint_name(number) for number in expected]


def test_more_checkpoints_than_there_are_is_an_error(run: Path) -> None:
    with pytest.raises(CheckpointError, match="has 6 checkpoints to choose from, not 7"):
        choose_checkpoints(AverageConfig(run=str(run), output="mean", num=7))


def test_where_more_is_better_the_best_have_the_most(run: Path) -> None:
    newest = run / "checkpoints" / checkpoint_name(60)
    write(run / "checkpoints", 70, torch.zeros(2), metric=0.5, config=CONFIG.replace("false", "true"))
    chosen = choose_checkpoints(AverageConfig(run=str(run), output="mean", num=1, choose=Choice.best))
    assert [path.name for path in chosen] == [checkpoint_name(10)]
    assert newest.exists()


@pytest.mark.parametrize("settings", [{}, {"checkpoints": ["a"], "run": "b"}, {"run": "b", "num": 0}])
def test_a_config_without_sense_is_refused(settings: dict[str, Any]) -> None:
    assert len(list(AverageConfig(output="mean", **settings).problems())) == 1
