"""A rate for each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from seqtrain.config import Problem, register_lr_scheduler
from seqtrain.lr_schedulers.base import LRScheduler, LRSchedulerConfig
from seqtrain.lr_schedulers.warmup import check_warmup

__all__ = ["Fixed", "FixedConfig", "fixed_lr"]


@dataclass(kw_only=True)
class FixedConfig(LRSchedulerConfig):
    """One rate, or one for each epoch, after a short warm-up; it can shrink from some epoch on."""

    warmup_updates: int = 0
    """Updates of the warm-up: update n of W uses n / W of the epoch's rate."""
    lr: list[float] | None = None
    """The rates of the epochs, the last one for all that follow; null: optimizer.lr for all."""
    force_anneal: int | None = None
    """From this epoch on (counted from 1), shrink the last rate once more each epoch; null never does."""
    lr_shrink: float = 0.1
    """The factor by which force_anneal shrinks."""

    def problems(self) -> Iterator[Problem]:
        """Rates are positive, epochs count from 1."""
        yield from check_warmup(self.warmup_updates)
        if self.lr is not None and (len(self.lr) == 0 or min(self.lr) <= 0):
            yield Problem("lr", f"must be null or a list of positive rates, but is {list(self.lr)}")
        if self.force_anneal is not None and self.force_anneal < 1:
            yield Problem("force_anneal", f"must be at least 1 or null, but is {self.force_anneal}")
        if not 0 < self.lr_shrink <= 1:
            yield Problem("lr_shrink", f"must be in (0, 1], but is {self.lr_shrink}")


def fixed_lr(epoch: int, config: FixedConfig, base_lr: float) -> float:
    """The rate of an epoch, counted from 1, without the warm-up."""
    rates = [base_lr] if config.lr is None else config.lr
    if config.force_anneal is None or epoch < config.force_anneal:
        return rates[min(epoch, len(rates)) - 1]
    return rates[-1] * config.lr_shrink ** (epoch + 1 - config.force_anneal)


@register_lr_scheduler("fixed", FixedConfig)
class Fixed(LRScheduler):
    """See `fixed_lr`; the epoch is what must be saved."""

    config: FixedConfig

    def __init__(self, config: FixedConfig, optimizer: Any) -> None:
        super().__init__(config, optimizer)
        self.epoch = 1
        self.num_updates = 0

    def step_update(self, num_updates: int) -> float:
        """See `LRScheduler`."""
        self.num_updates = num_updates
        warmup = self.config.warmup_updates
        fraction = min(1.0, (num_updates + 1) / warmup) if warmup > 0 else 1.0
        self.lr = fraction * fixed_lr(self.epoch, self.config, self.base_lr)
        return self.lr

    def step(self, epoch: int, valid_loss: float | None) -> float:
        """See `LRScheduler`; the next epoch begins, whatever the validation loss."""
        self.epoch = epoch + 1
        return self.step_update(self.num_updates)

    def state_dict(self) -> dict[str, Any]:
        """The epoch, for a resumed run that goes on in the middle of one."""
        return {"epoch": self.epoch, "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `LRScheduler`."""
        self.epoch, self.num_updates = int(state["epoch"]), int(state["num_updates"])
