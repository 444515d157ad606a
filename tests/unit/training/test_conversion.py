from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seqtrain.errors import CheckpointError
from seqtrain.training.checkpoint import Checkpoint, CheckpointContent, write_checkpoint
from seqtrain.training.conversion import convert


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A checkpoint in whole files, with tensors of 5, 2 and no rows."""

    def save_assets(folder: Path) -> None:
        (folder / "dict.en.txt").write_text("a 1\n", encoding="utf-8")

    folder = tmp_path / "whole"
    content = CheckpointContent(
        model={"table": torch.arange(10.0).reshape(5, 2), "bias": torch.ones(2, dtype=torch.bfloat16)},
        criterion={},
        optimizer={"table/exp_avg": torch.arange(10.0).reshape(5, 2) / 3, "table/step": torch.tensor(7)},
        ema={"table": torch.zeros(5, 2), "bias": torch.zeros(2)},
        state={"train": {"num_updates": 7}, "metric": 0.1 + 0.2},
        config="task: {_name: translation}\n",
        save_assets=save_assets,
    )
    write_checkpoint(folder, content)
    return folder


@pytest.mark.parametrize("num_parts", [1, 2, 3, 4])
def test_to_parts_and_back_changes_no_file(whole: Path, tmp_path: Path, num_parts: int) -> None:
    convert(whole, tmp_path / "parts", num_parts)
    convert(tmp_path / "parts", tmp_path / "back", None)
    num_files = {1: 1, 2: 2, 3: 3, 4: 3}[num_parts]  # of 5 rows in 4 parts, three have two, two and one
    names = [f"model-0000{number + 1}-of-0000{num_parts}.safetensors" for number in range(num_files)]
    assert sorted(path.name for path in (tmp_path / "parts").glob("model*")) == names
    everything = {path.name for path in whole.iterdir()}
    assert everything == {path.name for path in (tmp_path / "back").iterdir()}
    assert all((whole / name).read_bytes() == (tmp_path / "back" / name).read_bytes() for name in everything)


def test_the_parts_hold_the_same(whole: Path, tmp_path: Path) -> None:
    convert(whole, tmp_path / "parts", 2)
    before, after = Checkpoint(whole), Checkpoint(tmp_path / "parts")
    for name in ("model", "optimizer", "ema"):
        mine, theirs = getattr(after, name), getattr(before, name)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[label], theirs[label]) for label in theirs)
        assert all(mine[label].dtype is theirs[label].dtype for label in theirs)
    assert after.criterion == {}
    assert (after.state, after.config) == (before.state, before.config)


def test_a_folder_that_is_there_is_not_written_over(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is there already"):
        convert(whole, tmp_path, None)
