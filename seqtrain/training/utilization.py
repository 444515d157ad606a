"""Model-FLOPs utilisation: what share of a machine's peak the matrix products of a model reach (Chowdhery et al., 2022,
https://arxiv.org/abs/2204.02311)."""  # noqa: D205, D209

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from seqtrain.models.base import Model, TokenCounts

__all__ = ["Utilization", "known_peak", "measured_peak"]

_PEAKS: tuple[tuple[frozenset[str], float], ...] = (
    (frozenset({"B200"}), 2250e12),
    (frozenset({"GH200"}), 990e12),
    (frozenset({"H200", "NVL"}), 835e12),
    (frozenset({"H200"}), 990e12),
    (frozenset({"H100", "NVL"}), 835e12),
    (frozenset({"H100", "PCIe"}), 756e12),
    (frozenset({"H100"}), 990e12),
    (frozenset({"H800", "PCIe"}), 756e12),
    (frozenset({"H800"}), 990e12),
    (frozenset({"H20"}), 148e12),
    (frozenset({"A100"}), 312e12),
    (frozenset({"A800"}), 312e12),
    (frozenset({"A30"}), 165e12),
    (frozenset({"A40"}), 150e12),
    (frozenset({"A10"}), 125e12),
    (frozenset({"L40S"}), 362e12),
    (frozenset({"L40"}), 181e12),
    (frozenset({"L4"}), 121e12),
    (frozenset({"RTX", "4090"}), 165e12),
    (frozenset({"RTX", "3090"}), 71e12),
)
"""Words of a GPU's name, and its products of dense 16-bit matrices, summed in float32, as NVIDIA's data sheets have
them: floating-point operations a second. The first that fits counts."""

_PROBE_SIZE = 1024
_PROBE_SECONDS = 0.5


def known_peak(device_name: str, dtype: torch.dtype) -> float | None:
    """The floating-point operations a second that a GPU reaches at best; None if the table does not say.

    Args:
        device_name: As CUDA tells it: "NVIDIA A100-SXM4-80GB".
        dtype: Of the matrix products; the table knows 16-bit formats.
    """
    words = set(device_name.replace("-", " ").split())
    if dtype is torch.float32 or "MIG" in words:  # a slice of a GPU
        return None
    return next((peak for needed, peak in _PEAKS if needed <= words), None)


def measured_peak(dtype: torch.dtype) -> float:
    """The floating-point operations a second that a large matrix product reaches on this CPU, in half a second at best.

    Args:
        dtype: Of the matrices.
    """
    matrix = torch.ones(_PROBE_SIZE, _PROBE_SIZE, dtype=dtype)
    shortest, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < _PROBE_SECONDS:
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        shortest = min(shortest, time.perf_counter() - start)
    return 2.0 * _PROBE_SIZE**3 / shortest


@dataclass(frozen=True)
class Utilization:
    """How well a model uses the machine.

    Attributes:
        model: Counts its operations.
        peak: Floating-point operations a second of one process's device.
    """

    model: Model
    peak: float

    def of(self, counts: TokenCounts, seconds: float, *, num_devices: int = 1) -> float:
        """The share of the peak that training on so many tokens in so many seconds reaches.

        Args:
            counts: The tokens of all devices.
            seconds: The time that they took.
            num_devices: That shared the work.
        """
        return self.model.training_flops(counts) / (max(seconds, 1e-9) * self.peak * num_devices)


def token_counts(sums: Mapping[str, float]) -> TokenCounts:
    """What the updates of a row were made of."""
    return TokenCounts(*(int(sums.get(name, 0)) for name in ("num_source_tokens", "num_tokens", "num_sentences")))
