"""One contestant in a process of its own: `python -m benchmarks.training.arm SETTINGS`; see `harness.process`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.cuda import CudaDevice
from benchmarks.harness.serving import serve
from benchmarks.training import token_batches
from benchmarks.training.settings import Settings
from benchmarks.training.trainer import Trainer


def main() -> None:
    """Be the contestant."""
    settings = Settings.from_text(sys.argv[1])
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.num_threads)
    trainer: Trainer[Any] = importlib.import_module(f"benchmarks.training.peers.{settings.arm}").make(settings)
    batches = trainer.plan(token_batches.load(Path(settings.batches)))
    prepared = [trainer.prepare(batch) for batch in batches]
    flops = [batch.flops(settings.shape) for batch in batches]

    def piece(index: int) -> float:
        trainer.update(prepared[index % len(batches)])
        return batches[index % len(batches)].num_tokens

    facts = {
        "parameters": trainer.num_parameters,
        "versions": {"torch": torch.__version__, **trainer.versions},
        "flops_per_token": sum(flops) / sum(batch.num_tokens for batch in batches),
    }
    serve(piece, facts, CudaDevice() if settings.device == "cuda" else None)


if __name__ == "__main__":
    main()
