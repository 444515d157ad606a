"""The processes that `distributed.num_processes` asks for; started by `python -m seqtrain.train`, not by people.

`python -m seqtrain.rank FILE` starts them, each with the same command, as torchrun would; in each of them, it trains.
The file tells the config and the job as JSON, for a sweep's job cannot be told on a command line.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from seqtrain.config.command import Job
from seqtrain.config.ranks import is_numbered
from seqtrain.config.root import TrainConfig
from seqtrain.errors import PreemptedError, TrainingError
from seqtrain.training.signals import StopRequest

_LOOK_SECONDS = 0.1  # between two looks at the processes


def train_in_processes(config: TrainConfig, job: Job, stop: StopRequest) -> float | None:
    """Train in several processes on this machine, or on each machine of this SLURM job.

    Args:
        config: Its `distributed.num_processes` says how many.
        job: The job.
        stop: Signals that come to this process are sent on to the others.

    Returns:
        The best value of the validation metric.

    Raises:
        PreemptedError: A signal asked for an end; the run is saved.
        TrainingError: A process failed, and has said why.
    """
    with tempfile.TemporaryDirectory(prefix="seqtrain-") as folder:
        path = Path(folder, "job.json")
        plain = {**dataclasses.asdict(job), "run_dir": str(job.run_dir), "flags": [*job.flags]}
        path.write_text(json.dumps({**plain, "allowed_changes": [*job.allowed_changes]}), encoding="utf-8")
        launcher = subprocess.Popen(
            [sys.executable, "-m", "seqtrain.rank", str(path)], env=_environment(config.distributed.num_processes or 1)
        )
        was_sent = False
        while launcher.poll() is None:
            if stop and not was_sent:
                launcher.send_signal(signal.SIGTERM)
                was_sent = True
            try:
                launcher.wait(_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    return _outcome(job.run_dir, launcher.returncode)


def _environment(num_processes: int) -> dict[str, str]:
    threads = max(1, (os.cpu_count() or 1) // num_processes)
    inherited = {"OMP_NUM_THREADS": str(threads), **os.environ, "SEQTRAIN_NUM_PROCESSES": str(num_processes)}
    inherited.pop("HYDRA_FULL_ERROR", None)  # set for Hydra, which the processes do not use
    return inherited


def _outcome(run_dir: Path, returncode: int) -> float | None:
    try:
        status = json.loads((run_dir / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        status = {}
    if status.get("state") == "stopped":
        raise PreemptedError(
            f"{status.get('reason')}: the run is saved in {run_dir}",
            remedy="the same command goes on from there",
        )
    if returncode != 0:
        raise TrainingError("a process of the run failed; what it said stands above")
    best: float | None = status.get("best")
    return best


def main() -> None:
    """Start the processes, or be one of them."""
    path = Path(sys.argv[1])
    if is_numbered():
        _train(path)
    else:
        _launch(path)


def _launch(path: Path) -> None:
    """Start the processes on this machine and wait for them; the exit status is 1 where one fails."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for warning in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(warning, signal.SIG_IGN)  # SLURM sends them to every process of a job; those that train heed them
    logging.disable(logging.CRITICAL)  # each process tells its failure itself
    num_machines = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    config = LaunchConfig(
        min_nodes=num_machines,
        max_nodes=num_machines,
        nproc_per_node=int(os.environ["SEQTRAIN_NUM_PROCESSES"]),
        run_id=os.environ.get("SLURM_JOB_ID", "seqtrain"),
        rdzv_backend="c10d",
        rdzv_endpoint=_meeting_point(num_machines),
        max_restarts=0,
        monitor_interval=_LOOK_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "seqtrain.rank", str(path))
    except (ChildFailedError, SignalException):
        sys.exit(1)


def _meeting_point(num_machines: int) -> str:
    """Where the machines of a SLURM job find each other: its first one, at a port that its number gives."""
    if num_machines == 1:
        return "localhost:0"
    shown = subprocess.run(
        ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]], capture_output=True, text=True, check=True
    )
    return f"{shown.stdout.split()[0]}:{20_000 + int(os.environ['SLURM_JOB_ID']) % 20_000}"


def _train(path: Path) -> None:
    from seqtrain.config.app import command_errors
    from seqtrain.config.check import from_yaml, typed, written_out
    from seqtrain.config.folders import PluginFolders, activate, default_folders, named_folder
    from seqtrain.train import run

    with command_errors():
        content = json.loads(path.read_text(encoding="utf-8"))
        folders: PluginFolders = default_folders()
        for folder in content["plugin_folders"]:
            folders.add(named_folder(folder, "the run's config"))
        activate(folders)
        job = Job(
            **{
                **content,
                "run_dir": Path(content["run_dir"]),
                "flags": frozenset(content["flags"]),
                "allowed_changes": frozenset(content["allowed_changes"]),
            }
        )
        run(typed(TrainConfig, written_out(from_yaml(job.resolved))), job)


if __name__ == "__main__":
    main()
