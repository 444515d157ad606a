"""A max_tokens that was found is written into the saved config, and a run that goes on takes it from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqtrain.config.check import from_yaml
from seqtrain.config.root import DistributedConfig, Strategy, TrainBatchingConfig, TrainConfig
from seqtrain.training.found_tokens import record_max_tokens, with_known_max_tokens
from seqtrain.training.run_folder import RunConfig

RESOLVED = "batching:\n  max_tokens: 4096\n  find_max_tokens: true\nwidth: 4096\n"
COMPOSED = "batching:\n  max_tokens: 4096\n  find_max_tokens: true\nwidth: ${batching.max_tokens}\n"
WRITTEN = RunConfig(COMPOSED, RESOLVED, {"config.yaml": COMPOSED, "overrides.yaml": "[]\n"})
SEARCHING = TrainConfig(batching=TrainBatchingConfig(find_max_tokens=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that found a number and has saved."""
    (tmp_path / ".hydra").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.resolved.yaml").write_text(f"version: 1\n{RESOLVED}")
    (tmp_path / ".hydra/config.yaml").write_text(f"version: 1\n{COMPOSED}")
    record_max_tokens(tmp_path, 7000)
    return tmp_path


def test_the_number_is_recorded_and_everything_else_stays(folder: Path) -> None:
    expected = {"version": 1, "batching": {"max_tokens": 7000, "find_max_tokens": False}}
    assert from_yaml(folder / "config.resolved.yaml") == {**expected, "width": 4096}
    assert from_yaml(folder / ".hydra/config.yaml") == {**expected, "width": "${batching.max_tokens}"}


def test_a_run_that_goes_on_takes_the_number_and_writes_it(folder: Path) -> None:
    config, written = with_known_max_tokens(SEARCHING, WRITTEN, folder)
    assert (config.batching.max_tokens, config.batching.find_max_tokens) == (7000, False)
    for text in (written.resolved, written.composed, written.hydra_files["config.yaml"]):
        assert from_yaml(text)["batching"] == {"max_tokens": 7000, "find_max_tokens": False}
    assert from_yaml(written.composed)["width"] == "${batching.max_tokens}"
    assert written.hydra_files["overrides.yaml"] == "[]\n"


def test_a_run_that_has_saved_nothing_searches_again(folder: Path) -> None:
    (folder / "checkpoints").rmdir()
    assert with_known_max_tokens(SEARCHING, WRITTEN, folder) == (SEARCHING, WRITTEN)


def test_a_config_that_asks_for_no_search_stays_as_it_is(folder: Path) -> None:
    config = TrainConfig()
    assert with_known_max_tokens(config, WRITTEN, folder) == (config, WRITTEN)


def test_a_search_begins_somewhere_and_needs_whole_models() -> None:
    batching = TrainBatchingConfig(find_max_tokens=True, max_tokens=None, max_sentences=8)
    assert [problem.key for problem in batching.problems()] == ["find_max_tokens"]
    config = TrainConfig(
        batching=TrainBatchingConfig(find_max_tokens=True), distributed=DistributedConfig(strategy=Strategy.fsdp)
    )
    assert [problem.key for problem in config.problems()] == ["batching.find_max_tokens"]
