"""A run whose tensors are shared out goes on with one process, and its checkpoints serve every command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.runs import SMALL, environment, rows, start

pytestmark = pytest.mark.slow

RUN = (*SMALL, "lr_scheduler=fixed", "validation.interval_updates=10", "training.num_threads=1", "training.device=cpu")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes, up to update 10."""
    folder = tmp_path_factory.mktemp("sharded")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    settings = (*RUN, "distributed.strategy=fsdp", "training.max_updates=10", "hydra.run.dir=run")
    done = subprocess.run(
        [*torchrun, "-m", "seqtrain.train", *settings],
        cwd=folder,
        env=environment(1),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "run/checkpoints/last/model-00002-of-00002.safetensors").exists()
    return folder


def test_its_checkpoint_in_whole_files_writes_the_same(sharded: Path) -> None:
    last = "run/checkpoints/last"
    done = start("convert", f"checkpoint={last}", "output=whole", cwd=sharded)
    assert done.returncode == 0, done.stderr
    assert (sharded / "whole/model.safetensors").exists()
    (sharded / "input.txt").write_text("one hundred and two\n", encoding="utf-8")
    texts = [
        start("generate", f"checkpoint={folder}", "input=input.txt", "runtime.precision=fp32", cwd=sharded).stdout
        for folder in (last, "whole")
    ]
    assert texts[0] == texts[1] != ""


def test_it_goes_on_with_one_process_as_a_run_of_one_does(sharded: Path, tmp_path: Path) -> None:
    settings = (*RUN, "training.max_updates=20")
    resumed = start("train", *settings, "distributed.strategy=fsdp", "hydra.run.dir=run", cwd=sharded)
    assert resumed.returncode == 0, resumed.stderr
    assert "with 1 process, training.update_freq is 2" in resumed.stderr
    alone = start("train", *settings, "training.update_freq=2", "hydra.run.dir=run", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    for split in ("train", "valid"):
        mine, theirs = rows(sharded / "run", split), rows(tmp_path / "run", split)
        assert [row["update"] for row in mine] == [row["update"] for row in theirs]
        for name in ("loss", "nll_loss"):
            assert [row[name] for row in mine] == pytest.approx([row[name] for row in theirs], rel=1e-4)
