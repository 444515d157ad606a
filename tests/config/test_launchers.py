"""What the presets for SLURM ask for, and how submitit runs a sweep's jobs and puts them into the queue again."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.conftest import RunCommand
from tests.system.runs import SMALL, command, environment

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra slurm")


def shown(run: RunCommand, *arguments: str) -> Any:
    """What --cfg prints."""
    outcome = run(*arguments)
    assert outcome.err == ""
    return yaml.safe_load(outcome.out)


@pytest.mark.parametrize(("preset", "num_gpus", "num_processes"), [("slurm_a100", 1, None), ("slurm_a100x8", 8, "8")])
def test_a_preset_takes_a_node_and_says_how_many_processes_the_job_starts(
    run: RunCommand, preset: str, num_gpus: int, num_processes: str | None
) -> None:
    words = (f"hydra/launcher={preset}", "hydra.launcher.partition=gpu", "task.data=x", "--cfg", "hydra")
    hydra = shown(run, *words)["hydra"]
    launcher = hydra["launcher"]
    assert (launcher["nodes"], launcher["tasks_per_node"], launcher["gpus_per_node"]) == (1, 1, num_gpus)
    assert launcher["partition"] == "gpu"
    assert launcher["max_num_timeout"] > 0
    assert hydra["job"]["env_set"].get("SEQTRAIN_NUM_PROCESSES") == num_processes


def test_a_job_reads_how_many_processes_it_starts(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("task.data=x").config.distributed.num_processes is None
    monkeypatch.setenv("SEQTRAIN_NUM_PROCESSES", "8")
    assert run("task.data=x").config.distributed.num_processes == 8
    assert run("task.data=x", "distributed.num_processes=2").config.distributed.num_processes == 2


def test_slurm_is_asked_for_what_the_preset_says(folder: Path) -> None:
    """A false sbatch keeps the script that it is given, and refuses it."""
    programs = folder / "programs"
    programs.mkdir()
    refusing = f'cp "$1" {folder}/script; echo "no such partition" >&2; exit 1'
    for name, script in {"sbatch": refusing, "srun": ""}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (programs / name).chmod(stat.S_IRWXU)
    words = ("-m", "hydra/launcher=slurm_a100x8", "hydra.launcher.partition=gpu", "task.data=x", "training.seed=1,2")
    settings = {**environment(1), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command("train", *words), env=settings, capture_output=True, text=True, check=False)
    asked = {line for line in (folder / "script").read_text(encoding="utf-8").splitlines() if "#SBATCH" in line}
    assert {
        "#SBATCH --array=0-1%2",
        "#SBATCH --gpus-per-node=8",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --partition=gpu",
        "#SBATCH --signal=USR2@180",
        "#SBATCH --time=1440",
    } <= asked
    assert done.stderr.endswith(
        "seqtrain: error: the jobs could not be submitted:\nno such partition\n"
        "look at the settings of the launcher: --cfg hydra --package hydra.launcher, without --multirun\n"
    )


def test_a_machine_without_slurm_is_named(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert run("-m", "hydra/launcher=slurm_a100", "task.data=x").err == (
        "seqtrain: error: hydra/launcher=slurm_a100 needs SLURM, which is not on this machine\n"
        "start it on the cluster, or take hydra/launcher=submitit_local\n"
    )


def test_a_launcher_without_a_sweep_is_refused(run: RunCommand) -> None:
    assert run("hydra/launcher=slurm_a100x8", "task.data=x").err == (
        "seqtrain: error: hydra/launcher=slurm_a100x8 starts the jobs of a sweep, and this is none\nadd --multirun\n"
    )


def test_the_configs_of_a_sweep_are_checked_without_starting_its_jobs(run: RunCommand, folder: Path) -> None:
    words = ("-m", "--check", "hydra/launcher=slurm_a100x8", "training.seed=1,2")
    outcome = run(*words, "task.data=x")
    assert outcome.out.count("the config is right: train model=transformer ") == 2
    assert not list(folder.rglob(".submitit"))
    assert "the job training.seed=1 failed: task.data is missing" in run(*words).err


def wait_for(what: str, found: Any, process: subprocess.Popen[str]) -> None:
    """Wait until something is found that is true."""
    deadline = time.monotonic() + 200
    while not found():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_preempted_job_is_saved_put_into_the_queue_again_and_goes_on(folder: Path) -> None:
    words = ("-m", "hydra/launcher=submitit_local", *SMALL, "training.num_threads=1", "training.max_updates=60")
    process = subprocess.Popen(command("train", *words), env=environment(1), stderr=subprocess.PIPE, text=True)
    wait_for("a checkpoint", lambda: list(folder.glob("multirun/*/*/0/checkpoints/update_*")), process)
    (run,) = folder.glob("multirun/*/*/0")
    os.kill(json.loads((run / "status.json").read_text(encoding="utf-8"))["pid"], signal.SIGUSR2)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    status = json.loads((run / "status.json").read_text(encoding="utf-8"))
    assert (status["state"], status["update"]) == ("finished", 60)
    assert list(folder.glob("multirun/*/*/0")) == [run]
    log = (run / "train.log").read_text(encoding="utf-8")
    assert log.count(" on cpu in float32") == 2
    assert log.count("resumed from ") == 1
