"""What a command leaves behind: folders, exit status, and what it tells its job."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from seqtrain.config.app import Command
from seqtrain.config.check import from_yaml, typed
from seqtrain.config.root import GenerateConfig, TrainConfig
from tests.config.conftest import TRAIN, RunCommand
from tests.config.files import write

SAVE = dataclasses.replace(TRAIN, run="tests.config.jobs:save")
GENERATE = Command("generate", GenerateConfig, "tests.config.jobs:record")


def left_behind(folder: Path) -> list[str]:
    """All files and folders below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_run_has_a_folder_named_by_date_and_time(run: RunCommand, folder: Path) -> None:
    job = run("task.data=x", command=SAVE).job
    assert job.run_dir.is_absolute()
    assert job.run_dir.relative_to(folder / "outputs").match("????-??-??/??-??-??")
    assert job.run_dir.is_dir()


def test_two_runs_of_one_second_have_two_folders(run: RunCommand) -> None:
    run_dirs = {run("task.data=x", command=SAVE).job.run_dir for _ in range(4)}
    assert len(run_dirs) == 4


def test_a_run_can_be_named(run: RunCommand, folder: Path) -> None:
    assert run("task.data=x", "run_name=mine").job.run_dir == folder / "outputs/mine"
    assert run("task.data=x", "hydra.run.dir=there").job.run_dir == folder / "there"


def test_hydra_writes_nothing_of_its_own(run: RunCommand, folder: Path) -> None:
    assert run("task.data=x").status == 0
    assert left_behind(folder) == []


def test_a_command_without_a_run_folder_makes_none(run: RunCommand, folder: Path) -> None:
    assert run("checkpoint=somewhere", command=GENERATE).config.checkpoint == "somewhere"
    assert left_behind(folder) == []


@pytest.mark.parametrize("arguments", [["lr=1"], ["optimizer.lr=-1", "task.data=x"], ["task.data=x", "--check"], []])
def test_nothing_is_left_of_a_command_that_does_not_start(run: RunCommand, folder: Path, arguments: list[str]) -> None:
    assert run(*arguments, command=SAVE).runs == []
    assert left_behind(folder) == []


def test_a_folder_that_was_there_stays_as_it_was(run: RunCommand, folder: Path) -> None:
    write(folder / "outputs/mine/notes.txt", "keep me")
    (folder / "outputs/empty").mkdir()
    assert run("task.data=x", "run_name=mine").status == 0
    assert run("task.data=x", "run_name=empty").status == 0
    assert left_behind(folder) == ["outputs", "outputs/empty", "outputs/mine", "outputs/mine/notes.txt"]


@pytest.mark.parametrize(
    ("function", "status", "message"),
    [
        ("refuse_data", 2, "seqtrain: error: train.en has 3 lines, train.de 4\nalign the files\n"),
        (
            "be_preempted",
            75,
            "seqtrain: stopped: SIGTERM at update 7: the run is saved\nthe same command goes on from there\n",
        ),
        ("be_interrupted", 130, "seqtrain: interrupted\n"),
    ],
)
def test_a_job_that_stops_says_why_without_a_traceback(
    run: RunCommand, folder: Path, function: str, status: int, message: str
) -> None:
    outcome = run("task.data=x", command=dataclasses.replace(TRAIN, run=f"tests.config.jobs:{function}"))
    assert (outcome.status, outcome.err) == (status, message)
    assert left_behind(folder) == []


def test_a_defect_keeps_its_traceback(run: RunCommand) -> None:
    failing = dataclasses.replace(TRAIN, run="tests.config.jobs:raise_key_error")
    outcome = run("task.data=x", "training.seed=2", command=failing)
    assert outcome.status == 1
    assert outcome.err.startswith("Traceback")
    assert outcome.err.endswith("KeyError: 'defect'\n")
    assert "Error executing job" not in outcome.err
    assert "/hydra/" not in outcome.err


def test_check_says_that_a_config_is_right(run: RunCommand) -> None:
    outcome = run("task.data=x", "--check", "model=my_lstm")
    assert outcome.out == (
        "the config is right: train model=my_lstm criterion=label_smoothed_cross_entropy task=translation "
        "optimizer=adam lr_scheduler=inverse_sqrt\n"
    )
    assert (outcome.status, outcome.err, outcome.runs) == (0, "", [])


def test_overrides_and_flags_come_in_any_order(run: RunCommand) -> None:
    job = run("task.data=x", "--resume", "optimizer.lr=1").job
    assert job.flags == {"resume"}
    assert job.argv == ["task.data=x", "--resume", "optimizer.lr=1"]
    assert run("optimizer.lr=3", "--cfg", "job", "task.data=x", "-p", "optimizer.lr").out == "3.0\n"


def test_the_job_gets_dataclasses_and_texts_that_make_them_again(run: RunCommand) -> None:
    outcome = run("task.data=x", "optimizer.lr=1", "run_name=${training.seed}")
    config, job = outcome.config, outcome.job
    assert isinstance(config, TrainConfig)
    assert type(config.optimizer).__name__ == "AdamConfig"
    assert typed(TrainConfig, from_yaml(job.resolved)) == config
    assert yaml.safe_load(job.hydra_files["config.yaml"])["run_name"] == "${training.seed}"
    assert yaml.safe_load(job.hydra_files["overrides.yaml"]) == job.argv
    assert yaml.safe_load(job.hydra_files["hydra.yaml"])["hydra"]["job"]["name"] == "train"


def test_other_ranks_of_torchrun_write_nothing(run: RunCommand, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run("task.data=x", "hydra.run.dir=OUT").job.run_dir == folder
    assert left_behind(folder) == []


def test_a_sweep_under_torchrun_is_refused(run: RunCommand, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    outcome = run("task.data=x", "-m", "optimizer.lr=1,2")
    assert outcome.err == (
        "seqtrain: error: a sweep cannot run under torchrun\nstart the runs one by one, each with torchrun\n"
    )
    assert (outcome.status, left_behind(folder)) == (2, [])


@pytest.mark.parametrize("flag", ["--resume", "--allow-changes"])
def test_a_flag_of_training_is_refused_elsewhere(run: RunCommand, flag: str) -> None:
    assert run(flag, "checkpoint=somewhere", command=GENERATE).err == (
        "seqtrain: error: --resume and --allow-changes belong to seqtrain.train, and this is seqtrain.generate\n"
    )


def test_the_keys_that_may_change_reach_the_job(run: RunCommand) -> None:
    assert run("task.data=x", "--allow-changes=optimizer.lr").job.allowed_changes == {"optimizer.lr"}
