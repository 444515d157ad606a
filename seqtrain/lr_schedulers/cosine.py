"""Cosine annealing, with restarts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from seqtrain.config import II, Problem, register_lr_scheduler
from seqtrain.lr_schedulers.base import LRScheduler, LRSchedulerConfig
from seqtrain.lr_schedulers.warmup import check_warmup, linear_warmup

__all__ = ["Cosine", "CosineConfig", "cosine_lr"]


@dataclass(kw_only=True)
class CosineConfig(LRSchedulerConfig):
    """A linear warm-up to optimizer.lr, then half cosines down to min_lr (Loshchilov & Hutter, 2017)."""

    warmup_updates: int = 0
    """Updates of the warm-up."""
    warmup_init_lr: float = 0.0
    """The learning rate of the first update, where the warm-up starts."""
    min_lr: float = 0.0
    """The learning rate at the end of a period."""
    lr_period_updates: int | None = None
    """Updates of the first period; null: all updates after the warm-up, so that there is one period, or none in a run
    that is shorter than its warm-up."""
    t_mult: float = 1.0
    """Each period is so many times as long as the one before it."""
    lr_shrink: float = 0.1
    """Each period's highest and lowest rate are so many times those of the one before it."""
    total_num_update: int | None = II("training.max_updates")
    """Updates of the whole run, for a period of null."""

    def problems(self) -> Iterator[Problem]:
        """There is a period, and it can be computed."""
        yield from check_warmup(self.warmup_updates, self.warmup_init_lr)
        if self.lr_period_updates is None and self.total_num_update is None:
            yield Problem("lr_period_updates", "is null and so is training.max_updates: set one of them")
        elif self.lr_period_updates is not None and self.lr_period_updates < 1:
            yield Problem("lr_period_updates", f"must be positive or null, but is {self.lr_period_updates}")
        if self.min_lr < 0:
            yield Problem("min_lr", f"must be at least 0, but is {self.min_lr}")
        if self.t_mult < 1:
            yield Problem("t_mult", f"must be at least 1, but is {self.t_mult}")
        if not 0 < self.lr_shrink <= 1:
            yield Problem("lr_shrink", f"must be in (0, 1], but is {self.lr_shrink}")

    @property
    def period(self) -> int:
        """Updates of the first period."""
        if self.lr_period_updates is not None:
            return self.lr_period_updates
        return (self.total_num_update or 0) - self.warmup_updates


def cosine_lr(num_updates: int, config: CosineConfig, peak_lr: float) -> float:
    """With n updates done: the warm-up's line, then low + (high - low) (1 + cos(π t / T)) / 2 at t of a period of T.

    Period i has T = period * t_mult ** i, and both rates times lr_shrink ** i. A single period (lr_period_updates of
    null) ends at min_lr and stays there.
    """
    if num_updates < config.warmup_updates:
        return linear_warmup(num_updates, config.warmup_updates, config.warmup_init_lr, peak_lr)
    done = num_updates - config.warmup_updates
    if config.lr_period_updates is None and done >= config.period:
        return config.min_lr
    number, position, length = _find_period(done, config.period, config.t_mult)
    shrink = config.lr_shrink**number
    low, high = config.min_lr * shrink, peak_lr * shrink
    return low + 0.5 * (high - low) * (1.0 + math.cos(math.pi * position / length))


def _find_period(done: int, period: int, growth: float) -> tuple[int, float, float]:
    """The number of the period that an update falls into, the position in it, and its length."""
    if growth == 1.0:
        return done // period, float(done % period), float(period)
    number = math.floor(math.log(1.0 - done / period * (1.0 - growth), growth))
    start = (1.0 - growth**number) / (1.0 - growth) * period
    return number, done - start, growth**number * period


@register_lr_scheduler("cosine", CosineConfig)
class Cosine(LRScheduler):
    """See `cosine_lr`; the peak is the optimizer's learning rate."""

    config: CosineConfig

    def step_update(self, num_updates: int) -> float:
        """See `LRScheduler`."""
        self.lr = cosine_lr(num_updates, self.config, self.base_lr)
        return self.lr
