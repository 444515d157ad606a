"""The measures of a run: summed where the model runs, read once a log interval, written to metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from seqtrain.criterions.base import LossOutput

NATS_PER_BIT = math.log(2)
_LEFT_OUT = " left out"  # after the name of a number: how much of it the device found not to count


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

    def add_update(self, update: MetricSums, *, left_out: Tensor | bool) -> None:
        """Add the sums of one update.

        Args:
            update: Its sums.
            left_out: Whether they do not count; a tensor () of bools where only the device knows.
        """
        if isinstance(left_out, bool):
            if not left_out:
                self._add_all(update._tensors, update._numbers)
            return
        self._add_all(
            {name: torch.where(left_out, 0.0, value) for name, value in update._tensors.items()}, update._numbers
        )
        for name, number in update._numbers.items():
            self.add(f"{name}{_LEFT_OUT}", left_out * number)

    def _add_all(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, float]) -> None:
        for name, tensor in tensors.items():
            self.add(name, tensor)
        for name, number in numbers.items():
            self.add_number(name, number)

    def is_finite(self, name: str) -> bool:
        """Whether a sum is a finite number; the host waits for it."""
        return name not in self._tensors or math.isfinite(self._tensors[name].item())

    def number(self, name: str) -> float:
        """A sum of numbers that the host knows."""
        return self._numbers.get(name, 0.0)

    def read(self) -> dict[str, float]:
        """All sums, with one copy from the device."""
        names = list(self._tensors)
        values = torch.stack([self._tensors[name] for name in names]).tolist() if names else []
        sums = {**dict(zip(names, values, strict=True)), **self._numbers}
        for name in self._numbers:
            sums[name] -= sums.pop(f"{name}{_LEFT_OUT}", 0.0)
        return sums

    def restore(self, sums: Mapping[str, float], device: torch.device) -> None:
        """Take back what `read` gave."""
        host_side = {"sample_size", "num_tokens", "num_source_tokens", "num_sentences", "num_updates", "seconds"}
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
