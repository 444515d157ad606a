"""SGD and Nesterov's accelerated gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor

from seqtrain.optimizers.nag import NAGConfig
from seqtrain.optimizers.sgd import SGDConfig
from seqtrain.optimizers.torch_adam import has_fused_kernel

__all__ = ["NAG", "SGD"]


class SGD(torch.optim.SGD):
    """torch's SGD, by its fused kernel where there is one."""

    def __init__(self, config: SGDConfig, parameters: list[dict[str, Any]]) -> None:
        super().__init__(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True if has_fused_kernel(parameters) else None,
        )


class NAG(torch.optim.Optimizer):
    """Nesterov's accelerated gradient in the form of Bengio et al. (2013), as in fairseq.

    With the gradient g, the momentum μ and c = lr / (lr of the last update):

        p = p (1 - lr wd) + μ² c m - (1 + μ) lr g;    m = μ c m - lr g

    The first update has m = 0. The last learning rate travels with the optimizer's state.
    """

    def __init__(self, config: NAGConfig, parameters: list[dict[str, Any]]) -> None:
        defaults = {
            "lr": config.lr,
            "last_lr": config.lr,
            "momentum": config.momentum,
            "weight_decay": config.weight_decay,
        }
        super().__init__(parameters, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        correction = lr / group["last_lr"] if group["last_lr"] > 0 else lr
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        gradients = [parameter.grad for parameter in parameters]
        velocities = [self._velocity(parameter) for parameter in parameters]
        if parameters:
            torch._foreach_mul_(parameters, 1.0 - lr * group["weight_decay"])
            torch._foreach_add_(parameters, velocities, alpha=momentum * momentum * correction)
            torch._foreach_add_(parameters, gradients, alpha=-(1.0 + momentum) * lr)
            torch._foreach_mul_(velocities, momentum * correction)
            torch._foreach_add_(velocities, gradients, alpha=-lr)
        group["last_lr"] = lr

    def _velocity(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        velocity: Tensor = state["velocity"]
        return velocity
