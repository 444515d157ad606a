"""A run whose numbers go bad ends with the reason, and one that finds its own batch size is the run of that size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seqtrain.config.check import from_yaml
from tests.system.runs import SMALL, rows, start, weights

pytestmark = pytest.mark.slow


def test_a_run_whose_gradients_stay_bad_ends_with_1_and_names_layer_and_batch(tmp_path: Path) -> None:
    settings = ("optimizer.lr=1e30", "lr_scheduler.warmup_updates=1", "checkpoint.save_interval_updates=1")
    result = start("train", *SMALL, *settings, "hydra.run.dir=run", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "10 updates in a row had no finite gradient" in result.stderr
    assert "the first layer with an output that is not finite is model." in result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads((tmp_path / "run/status.json").read_text(encoding="utf-8"))["state"] == "failed"
    (folder,) = (tmp_path / "run" / "bad_batches").iterdir()
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    result = start("verify", "checkpoint", "run/checkpoints/last", cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_run_that_found_its_batch_size_is_the_run_of_that_size(tmp_path: Path) -> None:
    settings = (*SMALL, "batching.max_sentences=16", "validation.interval_updates=null", "training.num_threads=1")
    searching = (*settings, "batching.find_max_tokens=true")
    first = start("train", *searching, "hydra.run.dir=found", "training.max_updates=10", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    again = start("train", *searching, "hydra.run.dir=found", "training.max_updates=20", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "resumed from" in again.stderr
    assert "is the largest that fits" in first.stderr
    assert "is the largest that fits" not in again.stderr
    batching = from_yaml(tmp_path / "found/config.resolved.yaml")["batching"]
    assert batching["find_max_tokens"] is False
    given = (*settings, f"batching.max_tokens={batching['max_tokens']}")
    for command in (given, ("--rerun", "found")):
        result = start("train", *command, "hydra.run.dir=other", "training.max_updates=20", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert weights(tmp_path / "other") == weights(tmp_path / "found")
        assert rows(tmp_path / "other", "train") == rows(tmp_path / "found", "train")
        (tmp_path / "other").rename(tmp_path / f"done{len(list(tmp_path.iterdir()))}")
