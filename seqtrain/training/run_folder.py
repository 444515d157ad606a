"""The folder of a run: locked, compared with what is there, and only then written to.

This module imports no torch: a folder that is in use, or that belongs to another config, is refused at once.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

from seqtrain.config.check import from_yaml
from seqtrain.errors import PreemptedError, RunFolderError
from seqtrain.files import write_text_atomically

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
RESOLVED = "config.resolved.yaml"
COMPOSED = Path(".hydra") / "config.yaml"

# What may differ when a run goes on: limits, intervals, paths, what is shown. None of them changes an update.
FREE_KEYS = (
    "training.max_updates",
    "training.max_epochs",
    "training.stop_time_hours",
    "validation.patience",
    "validation.interval_*",
    "validation.metric",
    "validation.maximize",
    "validation.num_examples_shown",
    "validation.generate",
    "checkpoint.save_interval_*",
    "checkpoint.keep_*",
    "checkpoint.finetune_from",  # read by a run's first start alone
    "batching.num_prefetch",
    "logging.*",
    "generation.*",
    "task.data",
    "task.cache",
    "run_name",
)


@dataclass(frozen=True)
class RunConfig:
    """A run's config as it is written down.

    Attributes:
        composed: YAML as Hydra composed it, interpolations kept.
        resolved: YAML with every value.
        hydra_files: What Hydra would have written into `.hydra/`, by name.
    """

    composed: str
    resolved: str
    hydra_files: Mapping[str, str]


class RunFolder:
    """A run's folder, held by this process until it ends.

    Raises:
        RunFolderError: Another run holds the folder, or it has a run of another config. Nothing was touched.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self._config = config
        self._lock: TextIOWrapper | None = None

    def __enter__(self) -> RunFolder:
        """Take the lock, compare the config with the run that is there, and write it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(self.path)
        except OSError as error:
            raise RunFolderError(
                f"the run folder {self.path} cannot be written: {error}",
                remedy="choose another one: hydra.run.dir=FOLDER",
            ) from error
        try:
            self._compare()
        except BaseException:
            self._release()
            raise
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say so if the run failed, and free the lock, which the kernel does as well if the process is killed."""
        if error is not None and not isinstance(error, PreemptedError):
            self.write_status("failed", error=f"{type(error).__name__}: {error}")
        self._release()

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def metrics(self) -> Path:
        """The file of the measures."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """The file of the log."""
        return self.path / "train.log"

    def write_status(self, state: str, **details: Any) -> None:
        """Say how the run stands, for schedulers and people: running, finished, stopped, failed."""
        status = {"state": state, "pid": os.getpid(), "host": socket.gethostname(), **details}
        write_text_atomically(self.path / "status.json", json.dumps(status, indent=1) + "\n")

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _compare(self) -> None:
        old_path = self.path / RESOLVED
        if not old_path.exists() or not self.checkpoints.exists():
            return  # no run, or one that failed before it had anything to lose
        old, new = flatten(from_yaml(old_path)), flatten(from_yaml(self._config.resolved))
        old_composed = flatten(from_yaml(self.path / COMPOSED)) if (self.path / COMPOSED).exists() else {}
        new_composed = flatten(from_yaml(self._config.composed))
        refused = []
        for key in sorted(set(old) | set(new)):
            before, after = old.get(key), new.get(key)
            if before == after or any(fnmatch(key, pattern) for pattern in FREE_KEYS):
                continue
            if key in old_composed and old_composed[key] == new_composed.get(key):
                # The same interpolation of a key that may change: a schedule that reads max_updates.
                logger.warning("%s follows another key: it was %s and is now %s", key, before, after)
            else:
                refused.append(f"  {key}: {before} -> {after}")
        if refused:
            raise RunFolderError(
                f"{self.path} has a run of another config; these keys would change its results:\n" + "\n".join(refused),
                remedy="start in another folder (hydra.run.dir=FOLDER or run_name=NAME), or give the same values",
            )

    def _write(self) -> None:
        (self.path / ".hydra").mkdir(exist_ok=True)
        for name, text in self._config.hydra_files.items():
            write_text_atomically(self.path / ".hydra" / name, text)
        write_text_atomically(self.path / RESOLVED, self._config.resolved)


def _take_lock(folder: Path) -> TextIOWrapper:
    file = (folder / "run.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise RunFolderError(
            f"the run folder {folder} is in use by {holder}",
            remedy="wait for that run, or choose another folder: hydra.run.dir=FOLDER",
        ) from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every leaf of a config by its path: {"optimizer.lr": 0.001, ...}."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves.update(flatten(value, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
