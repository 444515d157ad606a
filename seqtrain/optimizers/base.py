"""What an optimizer promises to the rest of seqtrain: to be a `torch.optim.Optimizer`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from seqtrain.config import PluginConfig, Problem


@dataclass(kw_only=True)
class OptimizerConfig(PluginConfig):
    """What every optimizer can be told.

    An optimizer is built with `(config, parameters)`: torch's parameter groups, a list of dicts with `params` and
    `weight_decay`. Its learning rate is set before each step by the schedule, which takes the one it was built with as
    its peak.
    """

    lr: float = 5e-4
    """The learning rate; a schedule takes it as its peak."""
    weight_decay: float = 0.0
    """How much of each parameter is taken away a step, times the learning rate."""
    no_weight_decay: list[str] = field(default_factory=list)
    """Patterns of parameter names without weight decay: ["*.bias", "*norm*"]."""

    def problems(self) -> Iterator[Problem]:
        """A rate is positive, a decay not negative."""
        if self.lr <= 0:
            yield Problem("lr", f"must be positive, but is {self.lr}")
        if self.weight_decay < 0:
            yield Problem("weight_decay", f"must be at least 0, but is {self.weight_decay}")
