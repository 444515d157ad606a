"""The jobs of the commands that tests run: they take down what they were given."""

from __future__ import annotations

from typing import Any, ClassVar

from hydra.experimental.callback import Callback

from seqtrain.config.app import Job
from seqtrain.errors import DataError, PreemptedError

runs: list[tuple[Any, Job]] = []


def record(config: Any, job: Job) -> float | None:
    """Take down the config and the job; the objective is the learning rate."""
    runs.append((config, job))
    return float(config.optimizer.lr) if hasattr(config, "optimizer") else None


def save(config: Any, job: Job) -> float | None:
    """Also write .hydra, as a run does."""
    folder = job.run_dir / ".hydra"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in job.hydra_files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return record(config, job)


def raise_key_error(config: Any, job: Job) -> None:
    """Fail as a defect does, but for one seed of a sweep."""
    record(config, job)
    if config.training.seed != 1:
        raise KeyError("defect")


def refuse_data(config: Any, job: Job) -> None:
    """Fail as bad data does."""
    record(config, job)
    raise DataError("train.en has 3 lines, train.de 4", remedy="align the files")


def be_preempted(config: Any, job: Job) -> None:
    """Stop as at a signal."""
    record(config, job)
    raise PreemptedError("SIGTERM at update 7: the run is saved", remedy="the same command goes on from there")


def be_interrupted(config: Any, job: Job) -> None:
    """Stop as at Ctrl-C."""
    record(config, job)
    raise KeyboardInterrupt


class Spy(Callback):
    """Takes down what the jobs of a sweep return."""

    returned: ClassVar[list[object]] = []

    def on_job_end(self, config: Any, job_return: Any, **kwargs: Any) -> None:
        """Hydra's call after each job."""
        self.returned.append(job_return.return_value)
