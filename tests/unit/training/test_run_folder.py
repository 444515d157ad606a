"""A run folder has one holder and one config, and is untouched when it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seqtrain.errors import ConfigError, RunFolderError
from seqtrain.training.run_folder import RunConfig, RunFolder

RESOLVED = "training: {max_updates: 10, seed: 1}\nlr_scheduler: {total_updates: 10}\n"
COMPOSED = "training: {max_updates: 10, seed: 1}\nlr_scheduler: {total_updates: '${training.max_updates}'}\n"


def config(resolved: str = RESOLVED, composed: str = COMPOSED) -> RunConfig:
    return RunConfig(composed, resolved, {"config.yaml": composed})


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_config_is_written_down(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", config()):
        pass
    assert (tmp_path / "run/config.resolved.yaml").read_text(encoding="utf-8") == "version: 1\n" + RESOLVED
    assert (tmp_path / "run/.hydra/config.yaml").read_text(encoding="utf-8") == "version: 1\n" + COMPOSED


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


def seeded(seed: int) -> RunConfig:
    return config(RESOLVED.replace("seed: 1", f"seed: {seed}"), COMPOSED.replace("seed: 1", f"seed: {seed}"))


def begun(path: Path) -> Path:
    """A run folder with a checkpoint of update 7."""
    with RunFolder(path, config()) as folder:
        (folder.paths.checkpoints / "update_00000007").mkdir(parents=True)
    return path


def test_another_config_is_refused_with_all_differences_and_what_they_change(tmp_path: Path) -> None:
    before = content(begun(tmp_path))
    resolved = "training: {max_updates: 20, seed: 2, num_threads: 3}\nlr_scheduler: {total_updates: 20}\n"
    composed = resolved.replace("total_updates: 20", "total_updates: '${training.max_updates}'")
    with pytest.raises(RunFolderError) as caught, RunFolder(tmp_path, config(resolved, composed)):
        pass
    assert str(caught.value) == (
        f"{tmp_path} has a run of another config, which would go on to other results:\n"
        "  changes the result:\n"
        "    lr_scheduler.total_updates: 10 -> 20 (follows training.max_updates)\n"
        "    training.seed: 1 -> 2\n"
        "  changes the speed, and the result in its last bits at most:\n"
        "    training.num_threads: null -> 3\n"
        "  changes neither the result nor the speed:\n"
        "    training.max_updates: 10 -> 20\n"
        "start in another folder (hydra.run.dir=FOLDER or run_name=NAME), give the same values, or allow it: "
        "--allow-changes=training.seed"
    )
    assert {**content(tmp_path), "run.lock": b""} == {**before, "run.lock": b""}


@pytest.mark.parametrize("allowed", ["*", "training.seed", "training.*"])
def test_an_allowed_change_is_told_and_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture, allowed: str) -> None:
    caplog.set_level("INFO")
    for _ in range(2):  # the same command again changes nothing more
        with RunFolder(begun(tmp_path) if not caplog.text else tmp_path, seeded(2), [allowed]) as folder:
            folder.log_changes()
    (line,) = (tmp_path / "changes.jsonl").read_text(encoding="utf-8").splitlines()
    recorded = json.loads(line)
    assert recorded["update"] == 7
    assert recorded["changes"] == [{"key": "training.seed", "old": 1, "new": 2, "class": "result"}]
    assert caplog.messages == [
        "the run goes on with another config:\n  changes the result:\n    training.seed: 1 -> 2",
    ]


def test_only_what_was_named_is_allowed(tmp_path: Path) -> None:
    begun(tmp_path)
    with pytest.raises(RunFolderError, match=r"training\.seed: 1 -> 2"), RunFolder(tmp_path, seeded(2), ["lr_*"]):
        pass
    with pytest.raises(ConfigError) as caught, RunFolder(tmp_path, seeded(2), ["training.sead"]):
        pass
    assert str(caught.value) == (
        "--allow-changes=training.sead: the config has no such key\ndid you mean training.seed or training.max_updates?"
    )


def test_a_reference_to_the_environment_is_a_value_of_its_own(tmp_path: Path) -> None:
    composed = COMPOSED.replace("seed: 1", "seed: '${oc.env:SEED}'")
    with RunFolder(tmp_path, config(RESOLVED, composed)) as folder:
        folder.paths.checkpoints.mkdir()
    other = config(RESOLVED.replace("seed: 1", "seed: 2"), composed)
    with pytest.raises(RunFolderError, match=r"training\.seed: 1 -> 2"), RunFolder(tmp_path, other):
        pass


def test_a_run_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    file = begun(tmp_path) / "config.resolved.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("version: 1", "version: 99"), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{file} is of version 99, "), RunFolder(tmp_path, config()):
        pass


def test_a_run_that_has_saved_nothing_may_be_started_with_another_config(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        with RunFolder(tmp_path, config(RESOLVED.replace("seed: 1", f"seed: {seed}"))):
            pass
    assert "seed: 2" in (tmp_path / "config.resolved.yaml").read_text(encoding="utf-8")


def test_a_limit_may_change_and_what_follows_it_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RunFolder(tmp_path, config()) as folder:
        folder.paths.checkpoints.mkdir()
    longer = config(RESOLVED.replace("10", "20"), COMPOSED.replace("10", "20"))
    with RunFolder(tmp_path, longer) as folder:
        folder.log_changes()
    assert "lr_scheduler.total_updates follows another key: it was 10 and is now 20" in caplog.text


def test_a_failing_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path, config()):
        raise ZeroDivisionError("in a plug-in")
    status = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert (status["state"], status["error"]) == ("failed", "ZeroDivisionError: in a plug-in")
