"""Nesterov's accelerated gradient: the schema, free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seqtrain.config import Problem, register_optimizer
from seqtrain.optimizers.base import OptimizerConfig

__all__ = ["NAGConfig"]


@dataclass(kw_only=True)
class NAGConfig(OptimizerConfig):
    """Nesterov's accelerated gradient, as in fairseq, with decoupled weight decay."""

    lr: float = 0.25
    """The learning rate; a schedule takes it as its peak."""
    momentum: float = 0.99
    """How much of the last step is taken again."""

    def problems(self) -> Iterator[Problem]:
        """A momentum is in [0, 1)."""
        yield from super().problems()
        if not 0 <= self.momentum < 1:
            yield Problem("momentum", f"must be in [0, 1), but is {self.momentum}")


register_optimizer("nag", NAGConfig, at=".torch_sgd:NAG")
