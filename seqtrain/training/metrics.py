"""The measures of a run: summed where the model runs, read once a log interval, written to metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from seqtrain.criterions.base import LossOutput

NATS_PER_BIT = math.log(2)


class MetricSums:
    """Sums over batches. Tensors stay on their device: reading one makes the host wait for it."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._numbers: dict[str, float] = {}

    def add_output(self, output: LossOutput, *, num_tokens: int, num_sentences: int) -> None:
        """Add the loss of one batch; a `loss` among its logs is the one before it was scaled for float16."""
        for name, value in {"loss": output.loss_sum, **output.logs}.items():
            self.add(name, value)
        self.add_number("sample_size", output.sample_size)
        self.add_number("num_tokens", num_tokens)
        self.add_number("num_sentences", num_sentences)

    def add(self, name: str, value: Tensor) -> None:
        """Add a tensor (), in float64, where millions of updates lose nothing."""
        value = value.detach().to(torch.float64)
        known = self._tensors.get(name)
        self._tensors[name] = value if known is None else known + value

    def add_number(self, name: str, value: float) -> None:
        """Add a number that the host knows."""
        self._numbers[name] = self._numbers.get(name, 0.0) + value

    def number(self, name: str) -> float:
        """A sum of numbers that the host knows."""
        return self._numbers.get(name, 0.0)

    def read(self) -> dict[str, float]:
        """All sums, with one copy from the device."""
        names = list(self._tensors)
        values = torch.stack([self._tensors[name] for name in names]).tolist() if names else []
        return {**dict(zip(names, values, strict=True)), **self._numbers}

    def restore(self, sums: Mapping[str, float], device: torch.device) -> None:
        """Take back what `read` gave."""
        host_side = {"sample_size", "num_tokens", "num_sentences", "num_updates", "seconds"}
        for name, value in sums.items():
            if name in host_side:
                self._numbers[name] = value
            else:
                self._tensors[name] = torch.tensor(value, dtype=torch.float64, device=device)


def loss_measures(sums: Mapping[str, float]) -> dict[str, float]:
    """`loss` and `nll_loss` in base 2: the first per sample (token or sentence), the second per target token."""
    measures = {"loss": sums["loss"] / max(1.0, sums["sample_size"]) / NATS_PER_BIT}
    if "nll_loss" in sums:
        measures["nll_loss"] = sums["nll_loss"] / max(1.0, sums["num_tokens"]) / NATS_PER_BIT
    return measures
