"""Checkpoint folders are whole or not there, and every change to one is found."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from seqtrain.errors import CheckpointError
from seqtrain.training import checkpoint as module
from seqtrain.training.checkpoint import (
    Checkpoint,
    CheckpointContent,
    checkpoint_name,
    find_checkpoints,
    remove_debris,
    write_checkpoint,
)


def content(value: float = 1.0) -> CheckpointContent:
    def save_assets(folder: Path) -> None:
        (folder / "dict.en.txt").write_text("a 1\n", encoding="utf-8")

    return CheckpointContent(
        model={"weight": torch.full((3, 2), value)},
        criterion={},
        optimizer={"weight/exp_avg": torch.arange(6.0).reshape(3, 2), "weight/step": torch.tensor(7.0)},
        state={"train": {"num_updates": 7}, "metric": 0.1 + 0.2},
        config="task: {_name: translation}\n",
        save_assets=save_assets,
    )


def test_what_was_written_is_read_to_the_bit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "update_00000007", content())
    checkpoint = Checkpoint(tmp_path / "update_00000007")
    assert torch.equal(checkpoint.model["weight"], torch.ones(3, 2))
    assert torch.equal(checkpoint.optimizer["weight/step"], torch.tensor(7.0))
    assert checkpoint.criterion == {}
    assert checkpoint.state["metric"] == 0.1 + 0.2
    assert checkpoint.config == "task: {_name: translation}\n"


def test_files_have_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "update_00000007", content())
    (tmp_path / "like").touch()
    expected = (tmp_path / "like").stat().st_mode & 0o777
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "update_00000007").iterdir()} == {expected}


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_or_a_cut_in_any_file_is_found(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "update_00000007"
    write_checkpoint(folder, content())
    draw = random.Random(seed)
    path = draw.choice(sorted(folder.iterdir()))
    data = bytearray(path.read_bytes())
    position = draw.randrange(len(data))
    if draw.random() < 0.5:
        data[position] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
    else:
        path.write_bytes(data[:position])
    with pytest.raises(CheckpointError):
        Checkpoint(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "update_00000007"
    write_checkpoint(folder, content())
    (folder / "dict.en.txt").unlink()
    with pytest.raises(CheckpointError, match=r"dict\.en\.txt is missing"):
        Checkpoint(folder)


@pytest.mark.parametrize("name", ["../outside", "link"])
def test_a_manifest_cannot_point_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "update_00000007"
    write_checkpoint(folder, content())
    (tmp_path / "outside").write_text("secret", encoding="utf-8")
    (folder / "link").symlink_to(tmp_path / "outside")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"][name] = manifest["files"].pop("dict.en.txt")
    (folder / "manifest.json").write_text(module._manifest_text(manifest["files"]), encoding="utf-8")
    with pytest.raises(CheckpointError, match="outside of its folder"):
        Checkpoint(folder)


def test_a_folder_without_a_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no checkpoint: it has no manifest\.json"):
        Checkpoint(tmp_path)


def test_a_missing_folder_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint folder") as caught:
        Checkpoint(tmp_path / "nothing")
    assert caught.value.remedy == "give a folder such as outputs/RUN/checkpoints/best"


def test_a_failing_write_leaves_nothing(tmp_path: Path) -> None:
    def save_assets(_folder: Path) -> None:
        raise OSError(28, "No space left on device")

    broken = content()
    broken = CheckpointContent(**{**vars(broken), "save_assets": save_assets})
    with pytest.raises(CheckpointError, match="No space left on device"):
        write_checkpoint(tmp_path / "update_00000007", broken)
    assert list(tmp_path.iterdir()) == []


def test_writing_again_replaces_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "update_00000007"
    write_checkpoint(folder, content(1.0))
    write_checkpoint(folder, content(2.0))
    assert torch.equal(Checkpoint(folder).model["weight"], torch.full((3, 2), 2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["update_00000007"]


def test_debris_is_removed_and_an_interrupted_replacement_undone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "update_00000007", content())
    (tmp_path / "update_00000007").rename(tmp_path / ".replaced-update_00000007")
    (tmp_path / ".tmp-update_00000007-123").mkdir()
    (tmp_path / ".trash-update_00000003-123").mkdir()
    remove_debris(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["update_00000007"]
    Checkpoint(tmp_path / "update_00000007")


def test_checkpoints_are_found_newest_first(tmp_path: Path) -> None:
    for num_updates in (5, 200, 30):
        (tmp_path / checkpoint_name(num_updates)).mkdir()
    (tmp_path / "last").symlink_to("update_00000200")
    assert [path.name for path in find_checkpoints(tmp_path)] == [checkpoint_name(n) for n in (200, 30, 5)]
