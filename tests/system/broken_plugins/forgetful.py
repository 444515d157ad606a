"""optimizer=forgetful: momentum that is kept where no checkpoint looks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqtrain.optimizers import OptimizerConfig, register_optimizer


@dataclass(kw_only=True)
class ForgetfulConfig(OptimizerConfig):
    """Steps along a momentum that a restart forgets."""


@register_optimizer("forgetful", ForgetfulConfig)
class Forgetful(torch.optim.Optimizer):
    """Keeps its momentum in an attribute instead of `state`."""

    def __init__(self, config: ForgetfulConfig, parameters: list[dict[str, Any]]) -> None:
        super().__init__(parameters, {"lr": config.lr, "weight_decay": config.weight_decay})
        self._momenta: dict[int, Tensor] = {}

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every parameter."""
        for group in self.param_groups:
            for parameter in group["params"]:
                momentum = self._momenta.setdefault(id(parameter), torch.zeros_like(parameter))
                momentum.mul_(0.9).add_(parameter.grad)
                parameter.sub_(momentum, alpha=group["lr"])
