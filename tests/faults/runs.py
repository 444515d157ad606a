"""A training run that can be hit at a moment of one's choice."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.runs import SMALL, command, environment, rows, start

MAX_UPDATES = 60
VALIDATION_INTERVAL = 20

RUN = (
    *SMALL,
    "model.encoder_embed_dim=128",
    "model.decoder_embed_dim=128",
    "model.encoder_ffn_embed_dim=512",
    "model.decoder_ffn_embed_dim=512",
    "batching.max_tokens=256",
    f"training.max_updates={MAX_UPDATES}",
    f"validation.interval_updates={VALIDATION_INTERVAL}",
    "checkpoint.save_interval_updates=5",
    "logging.interval_updates=1",
    "hydra.run.dir=run",
)
"""A run of seconds whose checkpoints take some tens of milliseconds to write."""

DEBRIS = (".tmp-", ".replaced-", ".trash-")
"""How the folders begin that are there only while a checkpoint is written or removed."""


@dataclass(frozen=True)
class Hit:
    """A running training, and what was on the disk before it started.

    Attributes:
        run: The run folder.
        process: Of the training.
        debris: What earlier processes had left half-written.
        last_row: The newest row of metrics.jsonl.
    """

    run: Path
    process: subprocess.Popen[str]
    debris: frozenset[str]
    last_row: dict[str, Any]

    @classmethod
    def start(cls, folder: Path, *overrides: str, num_threads: int = 1) -> Hit:
        """Start the training, or go on with it."""
        run = folder / "run"
        debris, row = frozenset(debris_of(run)), last_row(run)
        threads = f"training.num_threads={num_threads}"
        process = subprocess.Popen(
            command("train", *RUN, threads, *overrides),
            cwd=folder,
            env=environment(num_threads),
            stderr=subprocess.PIPE,
            text=True,
        )
        return cls(run, process, debris, row)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until something is so, or the training has ended."""
        for _ in range(60_000):
            if condition() or self.process.poll() is not None:
                return
            time.sleep(0.002)
        raise AssertionError("the training hangs")

    def wait(self, moment: str, draw: random.Random) -> None:
        """Wait for a moment of the training's life: MOMENTS."""
        MOMENTS[moment](self, draw)

    @property
    def own_debris(self) -> frozenset[str]:
        """What this process has half-written, or half-removed, at this moment."""
        return frozenset(debris_of(self.run)) - self.debris

    def finish(self) -> str:
        """Wait for the end; what was said on stderr."""
        return self.process.communicate(timeout=300)[1]


def _start(_hit: Hit, draw: random.Random) -> None:
    """From the first instruction of the process to its first updates."""
    time.sleep(draw.uniform(0.0, 4.0))


def _running(hit: Hit, draw: random.Random) -> None:
    """Between the lock on the run folder and the first updates."""
    hit.wait_for(lambda: status(hit.run).get("state") == "running")
    time.sleep(draw.uniform(0.0, 2.0))


def _training(hit: Hit, draw: random.Random) -> None:
    """Some updates further."""
    before = hit.last_row.get("update", 0)
    distance = draw.randrange(1, 8)
    hit.wait_for(lambda: last_row(hit.run).get("update", 0) >= before + distance)
    time.sleep(draw.uniform(0.0, 0.05))


def _validation(hit: Hit, draw: random.Random) -> None:
    """While an update's row is there and its validation's is not yet."""

    def is_validating() -> bool:
        row = last_row(hit.run)
        is_due = row.get("split") == "train" and row["update"] % VALIDATION_INTERVAL == 0
        return row != hit.last_row and is_due

    hit.wait_for(is_validating)
    time.sleep(draw.uniform(0.0, 0.3))


def _checkpoint(hit: Hit, draw: random.Random) -> None:
    """While a checkpoint is being written, or an old one is being removed."""
    hit.wait_for(lambda: hit.own_debris)
    time.sleep(draw.uniform(0.0, 0.06))


def _end(hit: Hit, draw: random.Random) -> None:
    """Behind the last update."""
    hit.wait_for(lambda: last_row(hit.run).get("update", 0) == MAX_UPDATES)
    time.sleep(draw.uniform(0.0, 0.5))


MOMENTS: dict[str, Callable[[Hit, random.Random], None]] = {
    "start-up": _start,
    "before the first update": _running,
    "training": _training,
    "validation": _validation,
    "the writing of a checkpoint": _checkpoint,
    "the end": _end,
}


def debris_of(run: Path) -> set[str]:
    """The folders that are there while a checkpoint is written or removed."""
    try:
        return {name for name in os.listdir(run / "checkpoints") if name.startswith(DEBRIS)}
    except FileNotFoundError:
        return set()


def last_row(run: Path) -> dict[str, Any]:
    """The newest whole row of metrics.jsonl; empty without one."""
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return {}
    parsed: dict[str, Any] = json.loads(lines[-2]) if len(lines) > 1 else {}  # behind the last line feed is no row
    return parsed


def status(run: Path) -> dict[str, Any]:
    """What status.json says; empty without one."""
    try:
        content: dict[str, Any] = json.loads((run / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content


def unbroken(folder: Path, *overrides: str, num_threads: int = 1) -> Path:
    """The folder of a run that nothing interrupts."""
    threads = f"training.num_threads={num_threads}"
    result = start("train", *RUN, threads, *overrides, cwd=folder, num_threads=num_threads)
    assert result.returncode == 0, result.stderr
    return folder / "run"


def differences(run: Path, expected: Path) -> list[str]:
    """What a run ended in that another did not: weights, optimizer state, rows of metrics.jsonl."""
    files = ("model.safetensors", "optimizer.safetensors")
    found = [name for name in files if _last_file(run, name) != _last_file(expected, name)]
    return found + [f"rows of {split}" for split in ("train", "valid") if rows(run, split) != rows(expected, split)]


def _last_file(run: Path, name: str) -> bytes:
    return (run / "checkpoints" / "last" / name).read_bytes()
