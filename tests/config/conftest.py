"""Commands run in this process, each with plug-ins, loggers and a working directory of its own."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from hydra.core.config_store import ConfigStore

from seqtrain.config import folders, modules, raw_values, registry
from seqtrain.config.app import Command, Job, launch
from seqtrain.config.registry import KINDS, load_builtins
from seqtrain.config.root import TrainConfig
from tests.config import jobs


@dataclass
class Outcome:
    """What a command did.

    Attributes:
        status: Its exit status.
        out: Its standard output.
        err: Its standard error.
        runs: The config and the job of each job that ran.
    """

    status: int
    out: str
    err: str
    runs: list[tuple[Any, Job]] = field(default_factory=list)

    @property
    def config(self) -> Any:
        """The config of its one job."""
        assert self.status == 0, self.err
        ((config, _),) = self.runs
        return config

    @property
    def job(self) -> Job:
        """Its one job."""
        assert self.status == 0, self.err
        ((_, job),) = self.runs
        return job


class RunCommand(Protocol):
    """Runs a command with arguments."""

    def __call__(self, *arguments: str, command: Command = ...) -> Outcome:
        """Run it in the current directory."""


TRAIN = Command("train", TrainConfig, "tests.config.jobs:record")


@pytest.fixture(autouse=True)
def own_plugins() -> Iterator[None]:
    """Forget what the test imports from plug-in folders, and what Hydra did to the loggers."""
    load_builtins()
    entries = dict(registry._entries)
    store = ConfigStore.instance().repo
    stored = {kind: dict(store[kind]) for kind in KINDS}
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    registry._entries = entries
    store.update(stored)
    root.handlers[:] = handlers
    root.setLevel(level)
    folders._failed.clear()
    raw_values._taken_down.clear()
    folders.activate(None)
    for name in [name for name in sys.modules if name.startswith(f"{modules.__name__}.")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Runs a command as `python -m seqtrain.NAME ARGUMENTS` does, in an empty working directory."""

    def run_command(*arguments: str, command: Command = TRAIN) -> Outcome:
        jobs.runs.clear()
        monkeypatch.setattr(sys, "argv", [f"seqtrain-{command.name}", *arguments])
        capsys.readouterr()
        status = 0
        try:
            launch(command)
        except SystemExit as left:
            status = int(left.code or 0)
        out, err = capsys.readouterr()
        return Outcome(status, out, err, list(jobs.runs))

    assert Path.cwd() == folder
    assert os.environ.get("HYDRA_FULL_ERROR") is None
    return run_command
