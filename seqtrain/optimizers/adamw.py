"""AdamW: the schema, free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from seqtrain.config import Problem, register_optimizer
from seqtrain.optimizers.adam import check_betas
from seqtrain.optimizers.base import OptimizerConfig

__all__ = ["AdamWConfig"]


@dataclass(kw_only=True)
class AdamWConfig(OptimizerConfig):
    """Adam with decoupled weight decay, as in torch (Loshchilov & Hutter, 2019)."""

    weight_decay: float = 0.01
    """How much of each parameter is taken away a step, times the learning rate."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    """Decay rates of the running averages of the gradient and of its square."""
    eps: float = 1e-8
    """Added to the root of the second average after that is corrected for its bias."""

    def problems(self) -> Iterator[Problem]:
        """Decay rates are in [0, 1)."""
        yield from super().problems()
        yield from check_betas(self.betas, self.eps)


register_optimizer("adamw", AdamWConfig, at=".torch_adam:AdamW")
