"""The folder of a run's checkpoints: what is kept, what the links name, what a damaged one leads to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seqtrain.errors import CheckpointError
from seqtrain.training.checkpoint import Checkpoint, CheckpointContent
from seqtrain.training.keeper import CheckpointKeeper, KeepPolicy


def content(metric: float | None) -> CheckpointContent:
    return CheckpointContent(
        model={"weight": torch.zeros(1)},
        criterion={},
        optimizer={},
        state={"metric": metric},
        config="",
        save_assets=lambda _folder: None,
    )


def keeper(
    folder: Path, *, keep_last: int = 2, keep_best: int = 1, maximize: bool = False, keep_every: int | None = None
) -> CheckpointKeeper:
    return CheckpointKeeper(folder, KeepPolicy(keep_last, keep_best, maximize, keep_every))


def names(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("update_")) for path in folder.glob("update_*"))


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    kept = keeper(tmp_path)
    for num_updates, metric in [(10, 3.0), (20, 1.0), (30, 2.0), (40, None), (50, 2.5)]:
        kept.save(content(metric), num_updates)
    assert names(tmp_path) == [20, 40, 50]
    assert (tmp_path / "best").readlink() == Path("update_00000020")
    assert (tmp_path / "last").readlink() == Path("update_00000050")


def test_more_can_be_better(tmp_path: Path) -> None:
    kept = keeper(tmp_path, keep_last=1, keep_best=2, maximize=True)
    for num_updates, metric in [(10, 30.0), (20, 10.0), (30, 20.0), (40, 5.0)]:
        kept.save(content(metric), num_updates)
    assert names(tmp_path) == [10, 30, 40]
    assert (tmp_path / "best").readlink() == Path("update_00000010")


def test_multiples_are_kept_for_good(tmp_path: Path) -> None:
    kept = keeper(tmp_path, keep_last=1, keep_best=0, keep_every=30)
    for num_updates in (10, 30, 45, 60, 75, 90, 100, 110):
        kept.save(content(None), num_updates)
    assert names(tmp_path) == [30, 60, 90, 110]


def test_folders_that_a_person_made_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "update_00000010_copy").mkdir()
    kept = keeper(tmp_path, keep_last=1)
    for num_updates in (10, 20):
        kept.save(content(None), num_updates)
    assert sorted(path.name for path in tmp_path.glob("update_*")) == ["update_00000010_copy", "update_00000020"]


def test_of_equal_metrics_the_older_is_the_best(tmp_path: Path) -> None:
    kept = keeper(tmp_path, keep_last=3)
    for num_updates in (10, 20):
        kept.save(content(1.0), num_updates)
    assert (tmp_path / "best").readlink() == Path("update_00000010")


def test_without_a_validation_the_best_is_the_last(tmp_path: Path) -> None:
    keeper(tmp_path).save(content(None), 10)
    assert (tmp_path / "best").readlink() == Path("update_00000010")


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = keeper(tmp_path)
    kept.save(content(None), 10)
    kept.save(content(None), 20)
    damaged = tmp_path / "update_00000020" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    found = kept.newest_intact()
    assert isinstance(found, Checkpoint)
    assert found.folder.name == "update_00000010"
    assert str(damaged) in caplog.text
    assert (tmp_path / "damaged_update_00000020").is_dir()
    assert (tmp_path / "last").resolve().name == "update_00000010"


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_over(tmp_path: Path) -> None:
    kept = keeper(tmp_path)
    kept.save(content(None), 10)
    (tmp_path / "update_00000010" / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"(?s)every checkpoint of the run is damaged.*state\.json is missing"):
        kept.newest_intact()


def test_a_new_run_has_none(tmp_path: Path) -> None:
    assert keeper(tmp_path / "checkpoints").newest_intact() is None
