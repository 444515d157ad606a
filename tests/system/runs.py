"""Starting the commands as a user does: in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SMALL = (
    "experiment=demo",
    "model.encoder_embed_dim=32",
    "model.decoder_embed_dim=32",
    "model.encoder_ffn_embed_dim=64",
    "model.decoder_ffn_embed_dim=64",
    "batching.max_tokens=512",
    "training.precision=fp32",
    "training.max_updates=120",
    "validation.interval_updates=40",
    "validation.generate=false",
    "checkpoint.save_interval_updates=10",
    "logging.interval_updates=5",
)
"""A run of seconds with dropout, validations and many checkpoints."""


def command(name: str, *arguments: str) -> list[str]:
    """The command line of `python -m seqtrain.NAME`."""
    return [sys.executable, "-m", f"seqtrain.{name}", *arguments]


def start(
    name: str, *arguments: str, cwd: Path, num_threads: int = 1, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(name, *arguments),
        cwd=cwd,
        env=environment(num_threads),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for the end of a command that should end well."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def environment(num_threads: int) -> dict[str, str]:
    """The environment of a command; waiting threads sleep, for the tests share the cores."""
    return {**os.environ, "OMP_NUM_THREADS": str(num_threads), "OMP_WAIT_POLICY": "PASSIVE"}


def rows(run: Path, split: str) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl of a split, without what depends on the clock."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    parsed = [json.loads(line) for line in lines]
    return [
        {key: value for key, value in row.items() if key not in {"tokens_per_second", "mfu"}}
        for row in parsed
        if row["split"] == split
    ]


def weights(run: Path) -> bytes:
    """The last checkpoint's weights."""
    return (run / "checkpoints" / "last" / "model.safetensors").read_bytes()
