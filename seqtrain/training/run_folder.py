"""The folder of a run: locked, compared with what is there, and only then written to.

This module imports no torch: a folder that is in use, or that belongs to another config, is refused at once.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

from seqtrain.config.check import from_yaml
from seqtrain.config.differences import Difference, SavedConfig, describe, differences
from seqtrain.config.versions import with_version
from seqtrain.errors import PreemptedError, RunFolderError
from seqtrain.files import write_text_atomically
from seqtrain.training.changes import (
    COMPOSED,
    RESOLVED,
    read_config,
    record_changes,
    require_known_keys,
    require_same_results,
)

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"


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

    @property
    def saved(self) -> SavedConfig:
        """What will be read when the run goes on."""
        return SavedConfig(from_yaml(self.resolved), from_yaml(self.composed))


@dataclass(frozen=True)
class RunPaths:
    """What is where in a run folder."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def metrics(self) -> Path:
        """The file of the measures."""
        return self.path / "metrics.jsonl"

    @property
    def batches(self) -> Path:
        """The file that tells which examples each update was made of."""
        return self.path / "batches.jsonl"

    @property
    def profile(self) -> Path:
        """The trace of training.profile."""
        return self.path / "profile.json.gz"

    @property
    def log(self) -> Path:
        """The file of the log."""
        return self.path / "train.log"


class RunFolder:
    """A run's folder, held by this process until it ends.

    Args:
        path: The folder.
        config: The config to train with.
        allowed_changes: The keys, or patterns of them, that may differ from the run's own although they change results.

    Raises:
        RunFolderError: Another run holds the folder, or it has a run of another config. Nothing was touched.
    """

    def __init__(self, path: Path, config: RunConfig, allowed_changes: Collection[str] = ()) -> None:
        self.path = path
        self.paths = RunPaths(path)
        self._config = config
        self._allowed_changes = allowed_changes
        self._changes: list[Difference] = []
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
            with suppress(OSError):  # a full disk may be the very error
                self.write_status("failed", error=f"{type(error).__name__}: {error}")
        self._release()

    def write_status(self, state: str, **details: Any) -> None:
        """Say how the run stands, for schedulers and people: running, finished, stopped, failed."""
        status = {"state": state, "pid": os.getpid(), "host": socket.gethostname(), **details}
        write_text_atomically(self.path / "status.json", json.dumps(status, indent=1) + "\n")

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def log_changes(self) -> None:
        """Say what is another value than before."""
        if self._changes:
            logger.info("the run goes on with another config:\n%s", describe(self._changes))
        for change in self._changes:
            if change.follows is not None:  # a schedule that reads max_updates
                logger.warning(
                    "%s follows another key: it was %s and is now %s", change.key, change.old_text, change.new_text
                )

    def _compare(self) -> None:
        require_known_keys(self._allowed_changes, self._config.saved)
        if (self.path / RESOLVED).exists() and self.paths.checkpoints.exists():
            # Else there is no run, or one that failed before it had anything to lose.
            self._changes = differences(read_config(self.path), self._config.saved)
            require_same_results(self.path, self._changes, self._allowed_changes)

    def _write(self) -> None:
        if self._changes:
            newest = max((path.name for path in self.paths.checkpoints.glob("update_*")), default="update_0")
            record_changes(self.path, self._changes, num_updates=int(newest.removeprefix("update_")))
        (self.path / ".hydra").mkdir(exist_ok=True)
        for name, text in self._config.hydra_files.items():
            is_config = name == COMPOSED.name
            write_text_atomically(self.path / ".hydra" / name, with_version(text) if is_config else text)
        write_text_atomically(self.path / RESOLVED, with_version(self._config.resolved))


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
