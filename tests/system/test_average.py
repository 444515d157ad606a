"""Averages are written and used as a user does it: by commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.runs import SMALL, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in `run`, which keeps a moving average and five checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    settings = ("training.max_updates=50", "training.ema_decay=0.9", "checkpoint.keep_last=5")
    result = start("train", *SMALL, *settings, "hydra.run.dir=run", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_an_average_of_the_last_checkpoints_is_used_like_any_checkpoint(trained: Path) -> None:
    result = start("average", "run=run", "num=3", "output=averages/last3", cwd=trained)
    assert (result.returncode, result.stdout) == (0, "averages/last3\n"), result.stderr
    assert "averaged" in result.stderr
    measured = start("evaluate", "checkpoint=averages/last3", "generate=false", cwd=trained)
    assert measured.returncode == 0, measured.stderr
    assert "loss\t" in measured.stdout
    tuned = start(
        "train", *SMALL, "training.max_updates=5", "checkpoint.finetune_from=averages/last3", "hydra.run.dir=tuned",
        cwd=trained,
    )  # fmt: skip
    assert tuned.returncode == 0, tuned.stderr
    assert "started from" in tuned.stderr


def test_no_run_goes_on_from_an_average(trained: Path) -> None:
    arguments = ("run=run", "num=2", "output=resumed/checkpoints/update_00000050")
    result = start("average", *arguments, cwd=trained)
    assert result.returncode == 0, result.stderr
    resumed = start("train", *SMALL, "hydra.run.dir=resumed", cwd=trained)
    assert resumed.returncode == 2
    assert "holds weights alone, such as an average: no run can go on from it" in resumed.stderr


def test_the_moving_average_is_what_was_validated_and_what_is_used(trained: Path) -> None:
    runs = {
        choice: start("evaluate", "checkpoint=run/checkpoints/last", "generate=false", *choice, cwd=trained)
        for choice in ((), ("use_ema=true",), ("use_ema=false",))
    }
    outputs = [run.stdout for run in runs.values()]
    assert all(run.returncode == 0 for run in runs.values())
    assert outputs[0] == outputs[1] != outputs[2]
