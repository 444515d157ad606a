"""Runs of `python -m seqtrain.train` in processes of their own: one in one go, one that is killed and goes on."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seqtrain.errors import ConfigError
from seqtrain.training.checkpoint import checkpoint_name, find_checkpoints
from seqtrain.training.run_folder import CHECKPOINTS

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.005
_SHOWN_LINES = 20
_PREEMPTED = 75  # the exit status of a run that a signal stopped, saved


@dataclass(frozen=True)
class Interruption:
    """When a run is interrupted, and how.

    Attributes:
        num_updates: Of the whole run.
        kill_at: The run is interrupted as soon as the checkpoint of this update is there.
        signal: SIGKILL, which leaves no time for anything, or SIGTERM, at which the run saves.
    """

    num_updates: int
    kill_at: int
    signal: signal.Signals


class Runs:
    """The runs of one config, below one folder.

    Attributes:
        whole: The folder of the run that nothing interrupts.
        resumed: The folder of the run that is interrupted and goes on.
    """

    def __init__(self, folder: Path, overrides: Sequence[str], interruption: Interruption) -> None:
        self.whole = folder / "whole"
        self.resumed = folder / "resumed"
        self._overrides = list(overrides)
        self._interruption = interruption

    def run_whole(self) -> None:
        """Make all updates in one go.

        Raises:
            ConfigError: The run failed; what it said is told.
        """
        self._finish(self.whole)

    def interrupt(self) -> int:
        """Begin another run, and interrupt it.

        Returns:
            The update of its newest checkpoint, from which it will go on.

        Raises:
            ConfigError: The run failed, or ended before it could be interrupted.
        """
        awaited = self.resumed / CHECKPOINTS / checkpoint_name(self._interruption.kill_at)
        log = self._log(self.resumed)
        with _running(self._command(self.resumed), log) as process:
            while process.poll() is None and not awaited.exists():
                time.sleep(_POLL_SECONDS)
            process.send_signal(self._interruption.signal)
            status = process.wait()
        if status == 0:
            raise ConfigError(
                f"the run made all of its {self._interruption.num_updates} updates before it could be interrupted",
                remedy=f"give it more to do: --updates {10 * self._interruption.num_updates}",
            )
        expected = -signal.SIGKILL if self._interruption.signal is signal.SIGKILL else _PREEMPTED
        if status != expected:
            raise _failure("the run that was to be interrupted", status, log)
        newest = find_checkpoints(self.resumed / CHECKPOINTS)[0]
        return int(newest.name.rpartition("_")[2])

    def resume(self) -> None:
        """Let the interrupted run go on to its end.

        Raises:
            ConfigError: The run failed; what it said is told.
        """
        self._finish(self.resumed)

    def _finish(self, run: Path) -> None:
        log = self._log(run)
        with _running(self._command(run), log) as process:
            status = process.wait()
        if status != 0:
            raise _failure(f"the run in {run.name}/", status, log)

    def _log(self, run: Path) -> Path:
        return run.with_name(f"{run.name}.log")

    def _command(self, run: Path) -> list[str]:
        """The command line of a run: what a person may choose otherwise, the person's own, what must be so."""
        interruption = self._interruption
        return [
            *(sys.executable, "-m", "seqtrain.train"),
            "logging.interval_updates=3",  # sums of an interval that the interruption cuts must survive it
            *self._overrides,
            f"hydra.run.dir='{_quote(str(run.absolute()))}'",
            f"training.max_updates={interruption.num_updates}",
            *(f"{limit}=null" for limit in ("training.max_epochs", "training.stop_time_hours", "validation.patience")),
            f"checkpoint.save_interval_updates={interruption.kill_at}",
            "checkpoint.save_interval_epochs=null",
            "checkpoint.save_interval_minutes=null",
            f"checkpoint.keep_last={interruption.num_updates}",  # validations may save as well
            "logging.batches=true",
            "logging.progress=plain",
        ]


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not left behind if an error, or Ctrl-C, ends the `with` block.

    Args:
        command: Its command line.
        log: Takes what it says.
    """
    with log.open("w", encoding="utf-8") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _failure(name: str, status: int, log: Path) -> ConfigError:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
    said = "\n".join(f"  {line}" for line in lines)
    return ConfigError(f"{name} ended with status {status}; it said:\n{said}")


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
