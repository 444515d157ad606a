"""Runs of several processes, as torchrun starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.system.runs import environment

__all__ = ["RUN", "ranks_of", "start_ranks"]

RUN = (
    "model=transformer_demo",
    "model.encoder_embed_dim=32",
    "model.decoder_embed_dim=32",
    "model.encoder_ffn_embed_dim=64",
    "model.decoder_ffn_embed_dim=64",
    "batching.max_tokens=256",
    "training.precision=fp32",
    "training.num_threads=1",
    "optimizer.lr=0.002",
    "training.update_freq=6",
    "validation.interval_updates=20",
    "validation.generate=false",
    "checkpoint.save_interval_updates=5",
    "logging.interval_updates=1",
    "logging.batches=true",
    "hydra.run.dir=run",
)
"""A run of seconds, of 6 micro-batches an update."""


def start_ranks(num_processes: int, *overrides: str, cwd: Path) -> subprocess.Popen[str]:
    """Start a training of several processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
    return subprocess.Popen(
        [sys.executable, *torchrun, "-m", "seqtrain.train", *RUN, *overrides],
        cwd=cwd,
        env=environment(1),
        stderr=subprocess.PIPE,
        text=True,
    )


def ranks_of(torchrun: subprocess.Popen[str]) -> dict[int, int]:
    """The processes that torchrun has started: rank -> process id."""
    found: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (path / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError):  # it has ended by now
            continue
        if parent == torchrun.pid:
            ranks = [int(entry[5:]) for entry in variables if entry.startswith(b"RANK=")]
            found.update(dict.fromkeys(ranks, int(path.name)))
    return found
