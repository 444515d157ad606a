"""Stochastic gradient descent: the schema, free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seqtrain.config import Problem, register_optimizer
from seqtrain.optimizers.base import OptimizerConfig

__all__ = ["SGDConfig"]


@dataclass(kw_only=True)
class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum; weight decay is added to the gradient."""

    lr: float = 0.1
    """The learning rate; a schedule takes it as its peak."""
    momentum: float = 0.0
    """How much of the last step is taken again; 0 has none."""

    def problems(self) -> Iterator[Problem]:
        """A momentum is in [0, 1)."""
        yield from super().problems()
        if not 0 <= self.momentum < 1:
            yield Problem("momentum", f"must be in [0, 1), but is {self.momentum}")


register_optimizer("sgd", SGDConfig, at=".torch_sgd:SGD")
