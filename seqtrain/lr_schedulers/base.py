"""What a learning-rate schedule promises to the rest of seqtrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqtrain.config import PluginConfig

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass(kw_only=True)
class LRSchedulerConfig(PluginConfig):
    """What every schedule can be told: nothing, so far."""


class LRScheduler:
    """The base of all schedules: built with its config and the optimizer, before any optimizer state is loaded.

    A schedule that defines only `step_update` is complete. A schedule does not touch the optimizer: what it returns
    is set there by the training loop.

    Attributes:
        base_lr: The learning rate that the optimizer was built with.
    """

    def __init__(self, config: Any, optimizer: Optimizer) -> None:
        self.config = config
        self.optimizer = optimizer
        self.base_lr = float(optimizer.param_groups[0]["lr"])
        self.lr = self.base_lr

    def step_update(self, num_updates: int) -> float:
        """Return the rate that the update after num_updates updates uses; called with 0 before the first."""
        return self.lr

    def step(self, epoch: int, valid_loss: float | None) -> float:
        """The learning rate after an epoch (counted from 1) that ended with this validation loss, if there was one."""
        return self.lr

    def state_dict(self) -> dict[str, Any]:
        """What cannot be computed from the number of updates, as JSON values; nothing for most schedules."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
