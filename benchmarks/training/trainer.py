"""What every system is to the benchmark: something that makes updates on batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.training.settings import Settings
from benchmarks.training.token_batches import TokenBatch

Prepared = TypeVar("Prepared")


class Trainer(ABC, Generic[Prepared]):
    """A model with its loss and optimizer; a module of `peers` has a function `make(settings)` that returns one.

    Attributes:
        model: Whose parameters are counted.
        versions: Of the packages that matter.
    """

    model: torch.nn.Module
    versions: dict[str, str]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def plan(self, batches: list[TokenBatch]) -> list[TokenBatch]:
        """The batches as this system takes them: as they are, if it can."""
        return batches

    @abstractmethod
    def prepare(self, batch: TokenBatch) -> Prepared:
        """The batch as this system's own collation leaves it, on the device."""

    @abstractmethod
    def update(self, prepared: Prepared) -> None:
        """Make one whole update: forward, loss, backward, clipping, optimizer."""

    def autocast(self) -> torch.autocast:
        """bf16 where the settings say so."""
        return torch.autocast(self.settings.device, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def attention(self) -> AbstractContextManager[None]:
        """On the CPU, plain matrix products instead of the fused kernel, whose backward pass is slower."""
        return sdpa_kernel([SDPBackend.MATH]) if self.settings.device == "cpu" else nullcontext()

    @property
    def num_parameters(self) -> int:
        """Those that are trained; shared ones count once."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
