"""optimizer=my_lion: momentum whose sign alone is used (Chen et al., 2023, arXiv:2302.06675)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from seqtrain.config import Problem
from seqtrain.optimizers import OptimizerConfig, register_optimizer


@dataclass(kw_only=True)
class MyLionConfig(OptimizerConfig):
    """Lion: steps of one size, in the direction of the sign of a momentum (Chen et al., 2023)."""

    lr: float = 1e-4
    """The learning rate. The authors advise a third to a tenth of Adam's, and a weight decay as many times larger."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    """How much of the momentum is kept: in the step, and in what the next step sees."""

    def problems(self) -> Iterator[Problem]:
        """Shown all at once, before any data is read."""
        yield from super().problems()
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            yield Problem("betas", f"must be two numbers in [0, 1), but is {self.betas}")


@register_optimizer("my_lion", MyLionConfig)
class MyLion(torch.optim.Optimizer):
    """Built with its config and torch's parameter groups; the loop sets each group's `lr` before a step."""

    def __init__(self, config: MyLionConfig, parameters: list[dict[str, Any]]) -> None:
        first, second = config.betas
        super().__init__(parameters, {"lr": config.lr, "weight_decay": config.weight_decay, "betas": (first, second)})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every parameter that has a gradient by its group's learning rate."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        first, second = group["betas"]
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(torch.sign(torch.lerp(gradient, momentum, first)), alpha=group["lr"])
        momentum.lerp_(gradient, 1 - second)
