"""A warm-up, then polynomial decay to the end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seqtrain.config import II, Problem, register_lr_scheduler
from seqtrain.lr_schedulers.base import LRScheduler, LRSchedulerConfig
from seqtrain.lr_schedulers.warmup import check_warmup, linear_warmup

__all__ = ["PolynomialDecay", "PolynomialDecayConfig", "polynomial_decay_lr"]


@dataclass(kw_only=True)
class PolynomialDecayConfig(LRSchedulerConfig):
    """A linear warm-up to optimizer.lr, then polynomial decay to end_learning_rate at the last update."""

    warmup_updates: int = 0
    """Updates of the warm-up, which starts at 0."""
    end_learning_rate: float = 0.0
    """The learning rate at the end, and after it."""
    power: float = 1.0
    """The exponent; 1 is linear decay."""
    total_num_update: int | None = II("training.max_updates")
    """The update at which the decay ends."""

    def problems(self) -> Iterator[Problem]:
        """The end is known and lies behind the warm-up."""
        yield from check_warmup(self.warmup_updates)
        if self.total_num_update is None:
            yield Problem("total_num_update", "is null, as training.max_updates is: set one of them")
        elif self.total_num_update <= self.warmup_updates:
            yield Problem(
                "total_num_update",
                f"must be more than warmup_updates ({self.warmup_updates}), but is {self.total_num_update}",
            )
        if self.end_learning_rate < 0:
            yield Problem("end_learning_rate", f"must be at least 0, but is {self.end_learning_rate}")
        if self.power <= 0:
            yield Problem("power", f"must be positive, but is {self.power}")


def polynomial_decay_lr(num_updates: int, config: PolynomialDecayConfig, peak_lr: float) -> float:
    """With n updates done, W of warm-up and N in all: peak n / W, then end + (peak - end) (1 - (n - W) / (N - W))^p."""
    warmup, total, end = config.warmup_updates, config.total_num_update, config.end_learning_rate
    assert total is not None, "checked by problems()"
    if num_updates < warmup:
        return linear_warmup(num_updates, warmup, 0.0, peak_lr)
    if num_updates >= total:
        return end
    remaining = 1.0 - (num_updates - warmup) / (total - warmup)
    return end + (peak_lr - end) * float(remaining**config.power)


@register_lr_scheduler("polynomial_decay", PolynomialDecayConfig)
class PolynomialDecay(LRScheduler):
    """See `polynomial_decay_lr`; the peak is the optimizer's learning rate."""

    config: PolynomialDecayConfig

    def step_update(self, num_updates: int) -> float:
        """See `LRScheduler`."""
        self.lr = polynomial_decay_lr(num_updates, self.config, self.base_lr)
        return self.lr
