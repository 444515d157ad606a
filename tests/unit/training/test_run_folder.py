"""A run folder has one holder and one config, and is untouched when it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seqtrain.errors import RunFolderError
from seqtrain.training.run_folder import RunConfig, RunFolder, flatten

RESOLVED = "training: {max_updates: 10, seed: 1}\nlr_scheduler: {total_updates: 10}\n"
COMPOSED = "training: {max_updates: 10, seed: 1}\nlr_scheduler: {total_updates: '${training.max_updates}'}\n"


def config(resolved: str = RESOLVED, composed: str = COMPOSED) -> RunConfig:
    return RunConfig(composed, resolved, {"config.yaml": composed})


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_config_is_written_down(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", config()):
        pass
    assert (tmp_path / "run/config.resolved.yaml").read_text(encoding="utf-8") == RESOLVED
    assert (tmp_path / "run/.hydra/config.yaml").read_text(encoding="utf-8") == COMPOSED


def test_a_folder_in_use_is_refused_and_left_untouched(tmp_path: Path) -> None:
    with RunFolder(tmp_path, config()):
        before = content(tmp_path)
        with pytest.raises(RunFolderError, match="is in use by process"), RunFolder(tmp_path, config()):
            pass
        assert content(tmp_path) == before


def test_the_folder_is_free_after_the_run(tmp_path: Path) -> None:
    for _ in range(2):
        with RunFolder(tmp_path, config()) as folder:
            folder.write_status("finished", update=10)
    assert json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))["state"] == "finished"


def test_another_config_is_refused_with_the_difference(tmp_path: Path) -> None:
    with RunFolder(tmp_path, config()) as folder:
        folder.paths.checkpoints.mkdir()
    before = content(tmp_path)
    other = config(RESOLVED.replace("seed: 1", "seed: 2"), COMPOSED.replace("seed: 1", "seed: 2"))
    with pytest.raises(RunFolderError, match=r"training\.seed: 1 -> 2"), RunFolder(tmp_path, other):
        pass
    assert {**content(tmp_path), "run.lock": b""} == {**before, "run.lock": b""}


def test_a_run_that_has_saved_nothing_may_be_started_with_another_config(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        with RunFolder(tmp_path, config(RESOLVED.replace("seed: 1", f"seed: {seed}"))):
            pass
    assert "seed: 2" in (tmp_path / "config.resolved.yaml").read_text(encoding="utf-8")


def test_a_limit_may_change_and_what_follows_it_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RunFolder(tmp_path, config()) as folder:
        folder.paths.checkpoints.mkdir()
    longer = config(RESOLVED.replace("10", "20"), COMPOSED.replace("10", "20"))
    with RunFolder(tmp_path, longer):
        pass
    assert "lr_scheduler.total_updates follows another key: it was 10 and is now 20" in caplog.text


def test_a_failing_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path, config()):
        raise ZeroDivisionError("in a plug-in")
    status = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert (status["state"], status["error"]) == ("failed", "ZeroDivisionError: in a plug-in")


def test_leaves_are_named_by_their_path() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "a.c": {}, "d": [1, 2]}
