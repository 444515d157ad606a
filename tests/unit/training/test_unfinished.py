"""An unfinished run is found by its config."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seqtrain.training.run_folder import RunConfig, RunFolder
from seqtrain.training.unfinished import newest_unfinished

CONFIG = "training: {{seed: {seed}, max_updates: {updates}}}\ntask: {{data: {data}}}\n"


def config(seed: int = 1, updates: int = 10, data: str = "text") -> RunConfig:
    text = CONFIG.format(seed=seed, updates=updates, data=data)
    return RunConfig(text, text, {"config.yaml": text})


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a run that was stopped."""
    path = tmp_path / "outputs/2020-01-01/10-00-00"
    with RunFolder(path, config()) as folder:
        folder.paths.checkpoints.mkdir()
        folder.write_status("stopped")
    return path


def found(stopped: Path, wanted: RunConfig, *allowed: str) -> bool:
    other = stopped.parents[1] / "2020-01-02/11-00-00"
    return newest_unfinished(other, wanted, allowed) == stopped


def test_limits_may_differ(stopped: Path) -> None:
    assert found(stopped, config())
    assert found(stopped, config(updates=20))


def test_what_changes_results_may_not_unless_it_is_allowed(stopped: Path) -> None:
    assert not found(stopped, config(seed=2))
    assert found(stopped, config(seed=2), "training.seed")


def test_a_run_on_other_data_is_another_run(stopped: Path) -> None:
    assert not found(stopped, config(data="other"))


def test_a_finished_run_is_not_found(stopped: Path) -> None:
    (stopped / "status.json").write_text(json.dumps({"state": "finished"}), encoding="utf-8")
    assert not found(stopped, config())


def test_a_run_of_a_newer_version_or_a_damaged_one_is_passed_over(stopped: Path) -> None:
    file = stopped / "config.resolved.yaml"
    file.write_text("version: 99\n", encoding="utf-8")
    assert not found(stopped, config())
    file.write_text("a: [", encoding="utf-8")
    assert not found(stopped, config())
