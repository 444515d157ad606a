"""`--multirun`: a folder a job, and a failing job does not lose the others."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.config import jobs
from tests.config.conftest import TRAIN, RunCommand
from tests.config.files import write_widget
from tests.shared import CHECKOUT

FAILING = dataclasses.replace(TRAIN, run="tests.config.jobs:raise_key_error")


def test_each_job_of_a_sweep_has_a_folder(run: RunCommand, folder: Path) -> None:
    outcome = run("-m", "optimizer.lr=1,2", "task.data=x", "training.seed=3,4")
    assert outcome.status == 0
    assert [(config.optimizer.lr, config.training.seed) for config, _ in outcome.runs] == [
        (1.0, 3),
        (1.0, 4),
        (2.0, 3),
        (2.0, 4),
    ]
    run_dirs = [job.run_dir for _, job in outcome.runs]
    (sweep_dir,) = {path.parent for path in run_dirs}
    assert sweep_dir.relative_to(folder / "multirun").match("????-??-??/??-??-??")
    assert [path.name for path in run_dirs] == ["0", "1", "2", "3"]
    assert all(job.is_sweep for _, job in outcome.runs)


def test_a_job_returns_its_objective_to_the_sweeper(run: RunCommand) -> None:
    jobs.Spy.returned.clear()
    assert (
        run("-m", "optimizer.lr=1,2", "task.data=x", "+hydra.callbacks.spy._target_=tests.config.jobs.Spy").status == 0
    )
    assert jobs.Spy.returned == [1.0, 2.0]


def test_the_overrides_of_a_job_are_saved_with_it(run: RunCommand) -> None:
    outcome = run("-m", "optimizer.lr=1,2", "task.data=x")
    overrides = [yaml.safe_load(job.hydra_files["overrides.yaml"]) for _, job in outcome.runs]
    assert overrides == [["optimizer.lr=1", "task.data=x"], ["optimizer.lr=2", "task.data=x"]]


def test_a_failing_job_is_logged_with_its_traceback_and_the_others_run(run: RunCommand) -> None:
    outcome = run("-m", "training.seed=7,1,8", "task.data=x", command=FAILING)
    assert [config.training.seed for config, _ in outcome.runs] == [7, 1, 8]
    assert outcome.status == 1
    assert "the job training.seed=7 task.data=x failed\nTraceback" in outcome.err
    assert "the job training.seed=8 task.data=x failed\nTraceback" in outcome.err
    assert outcome.err.count("KeyError: 'defect'") == 2
    last = outcome.err.splitlines()[-1]
    assert last == "seqtrain: error: the job training.seed=7 task.data=x failed; the other jobs of the sweep ran"


def test_a_job_with_a_wrong_config_is_named_with_what_is_wrong(run: RunCommand) -> None:
    outcome = run("-m", "optimizer.lr=-1,1", "task.data=x")
    assert [config.optimizer.lr for config, _ in outcome.runs] == [1.0]
    assert outcome.status == 1
    assert "the job optimizer.lr=-1 task.data=x failed: optimizer.lr must be positive, but is -1.0\n" in outcome.err


def test_a_preempted_job_ends_the_sweep(run: RunCommand) -> None:
    preempted = dataclasses.replace(TRAIN, run="tests.config.jobs:be_preempted")
    outcome = run("-m", "training.seed=1,2", "task.data=x", command=preempted)
    assert [config.training.seed for config, _ in outcome.runs] == [1]
    assert outcome.status == 75


def test_nothing_of_a_sweep_goes_to_standard_output(run: RunCommand) -> None:
    outcome = run("-m", "training.seed=1,2", "task.data=x")
    assert outcome.out == ""
    assert outcome.err.startswith("Launching 2 jobs locally\n")


def test_child_processes_find_the_plugins_of_a_folder(folder: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra sweep")
    write_widget(folder / "my_plugins")
    script = (
        "from seqtrain.config.app import Command, launch\n"
        "from seqtrain.config.root import TrainConfig\n"
        "launch(Command('train', TrainConfig, 'tests.config.jobs:save'))\n"
    )
    words = ["hydra.searchpath=[my_plugins]", "-m", "hydra/launcher=joblib", "model=widget,widget_big", "task.data=x"]
    python_path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", script, *words], env={**os.environ, "PYTHONPATH": python_path}, check=True)
    saved = sorted(folder.glob("multirun/*/*/*/.hydra/config.yaml"))
    assert [yaml.safe_load(file.read_text())["model"]["size"] for file in saved] == [3, 12]


def test_checking_a_sweep_writes_nothing(run: RunCommand, folder: Path) -> None:
    outcome = run("-m", "--check", "optimizer.lr=1,2", "task.data=x")
    assert (outcome.status, outcome.runs) == (0, [])
    assert outcome.out.count("the config is right: train") == 2
    assert list(folder.iterdir()) == []


def test_checking_a_sweep_finds_the_job_that_is_wrong(run: RunCommand, folder: Path) -> None:
    outcome = run("-m", "--check", "training.update_freq=1,0", "task.data=x")
    assert outcome.status == 1
    assert "training.update_freq must be at least 1, but is 0" in outcome.err
    assert list(folder.iterdir()) == []
