"""Adam and AdamW, on torch's kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, overload

import torch

from seqtrain.optimizers.adam import AdamConfig
from seqtrain.optimizers.adamw import AdamWConfig

__all__ = ["Adam", "AdamW", "has_fused_kernel"]


def has_fused_kernel(parameters: list[dict[str, Any]]) -> bool:
    """Whether torch updates all these parameters in one kernel: floating point, on a CPU or a CUDA device."""
    return all(
        parameter.is_floating_point() and parameter.device.type in ("cpu", "cuda")
        for group in parameters
        for parameter in group["params"]
    )


class AdamW(torch.optim.AdamW):
    """torch's AdamW, by its fused kernel where there is one (Loshchilov & Hutter, 2019)."""

    def __init__(self, config: AdamWConfig | AdamConfig, parameters: list[dict[str, Any]]) -> None:
        beta1, beta2 = config.betas
        super().__init__(
            parameters,
            lr=config.lr,
            betas=(beta1, beta2),
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=True if has_fused_kernel(parameters) else None,
        )


class Adam(AdamW):
    """p -= lr wd p, then p -= lr √(1 - β₂ⁿ) / (1 - β₁ⁿ) m / (√v + ε) in update n.

    torch adds ε to √v / √(1 - β₂ⁿ) instead of √v, so its kernel is given ε / √(1 - β₂ⁿ). The number of updates is kept
    per parameter group, and travels with the optimizer's state.
    """

    def __init__(self, config: AdamConfig, parameters: list[dict[str, Any]]) -> None:
        super().__init__(config, parameters)
        for group in self.param_groups:
            group["num_updates"] = 0

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of all parameters that have a gradient."""
        given = [group["eps"] for group in self.param_groups]
        for group in self.param_groups:
            group["num_updates"] += 1
            group["eps"] /= math.sqrt(1.0 - group["betas"][1] ** group["num_updates"])
        try:
            loss: float | None = super().step(closure)
        finally:
            for group, eps in zip(self.param_groups, given, strict=True):
                group["eps"] = eps
        return loss

    def forget_update(self) -> None:
        """Take back the count of a step that the kernel left out, because it was told of a gradient that is not finite.

        The host may learn of it some updates later; ε is divided by the wrong root for so long, which changes nothing
        where √v is larger.
        """
        for group in self.param_groups:
            group["num_updates"] -= 1
