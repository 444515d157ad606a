"""lr_scheduler=my_trapezoid: up, along, and down again (warm-up, stable, decay: Hu et al., 2024, arXiv:2404.06395)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seqtrain.config import II, Problem
from seqtrain.lr_schedulers import LRScheduler, LRSchedulerConfig, register_lr_scheduler


@dataclass(kw_only=True)
class MyTrapezoidConfig(LRSchedulerConfig):
    """Warm-up, stable, decay: a straight line up to optimizer.lr, along it, and down to zero (Hu et al., 2024).

    A run that is too short for all three has no stable part, and does not reach optimizer.lr.
    """

    warmup_updates: int = 100
    """Updates until the learning rate is reached."""
    decay_updates: int = 500
    """Updates at the end in which it goes down to zero."""
    total_updates: int | None = II("training.max_updates")
    """Updates of the run, unless said otherwise; after them the learning rate stays at its last value."""

    def problems(self) -> Iterator[Problem]:
        """Shown all at once, before any data is read."""
        if self.total_updates is None:
            yield Problem("total_updates", "is null, as training.max_updates is: set one of them")
        if min(self.warmup_updates, self.decay_updates) < 1:
            yield Problem("warmup_updates", "warmup_updates and decay_updates must be at least 1")


@register_lr_scheduler("my_trapezoid", MyTrapezoidConfig)
class MyTrapezoid(LRScheduler):
    """A schedule that depends on nothing but the number of updates defines one method."""

    config: MyTrapezoidConfig

    def step_update(self, num_updates: int) -> float:
        """See `LRScheduler`: the smallest of the three lines at the update that comes next."""
        total = self.config.total_updates
        assert total is not None, "checked by problems()"
        update = min(num_updates + 1, total)
        rising = update / self.config.warmup_updates
        falling = (total + 1 - update) / self.config.decay_updates
        return self.base_lr * min(rising, 1.0, falling)
