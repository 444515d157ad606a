"""Adam, as fairseq defines it: the schema, free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from seqtrain.config import Problem, register_optimizer
from seqtrain.optimizers.base import OptimizerConfig

__all__ = ["AdamConfig", "check_betas"]


def check_betas(betas: list[float], eps: float) -> Iterator[Problem]:
    """The problems of Adam's decay rates and ε."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        yield Problem("betas", f"must be two numbers in [0, 1), but is {list(betas)}")
    if eps < 0:
        yield Problem("eps", f"must be at least 0, but is {eps}")


@dataclass(kw_only=True)
class AdamConfig(OptimizerConfig):
    """Adam with decoupled weight decay, and ε outside the bias correction, as in fairseq (Kingma & Ba, 2015)."""

    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    """Decay rates of the running averages of the gradient and of its square."""
    eps: float = 1e-8
    """Added to the root of the second average before that is corrected for its bias."""

    def problems(self) -> Iterator[Problem]:
        """Decay rates are in [0, 1)."""
        yield from super().problems()
        yield from check_betas(self.betas, self.eps)


register_optimizer("adam", AdamConfig, at=".torch_adam:Adam")
