"""One contestant in a process of its own: `python -m benchmarks.training.arm SETTINGS`; see `harness.process`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmarks.harness.cuda import CudaDevice
from benchmarks.harness.serving import serve
from benchmarks.training import token_batches
from benchmarks.training.settings import Settings
from benchmarks.training.token_batches import TokenBatch


class Trainer(Protocol):
    """What a module of `peers` makes with `make(settings)`.

    Attributes:
        model: Whose parameters are counted.
        versions: Of the packages that matter.
    """

    model: torch.nn.Module
    versions: dict[str, str]

    def prepare(self, batch: TokenBatch) -> Any:
        """The batch as this system's own collation leaves it, on the device."""

    def update(self, prepared: Any) -> None:
        """Make one whole update: forward, loss, backward, clipping, optimizer."""


def num_parameters(model: torch.nn.Module) -> int:
    """Those that are trained; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def main() -> None:
    """Be the contestant."""
    settings = Settings.from_text(sys.argv[1])
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.num_threads)
    trainer: Trainer = importlib.import_module(f"benchmarks.training.peers.{settings.arm}").make(settings)
    batches = token_batches.load(Path(settings.batches))
    prepared = [trainer.prepare(batch) for batch in batches]
    flops = [batch.flops(settings.shape) for batch in batches]

    def piece(index: int) -> float:
        trainer.update(prepared[index % len(batches)])
        return batches[index % len(batches)].num_tokens

    facts = {
        "parameters": num_parameters(trainer.model),
        "versions": {"torch": torch.__version__, **trainer.versions},
        "flops_per_token": sum(flops) / sum(batch.num_tokens for batch in batches),
    }
    serve(piece, facts, CudaDevice() if settings.device == "cuda" else None)


if __name__ == "__main__":
    main()
