"""A warm-up, then decay by the inverse square root of the number of updates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seqtrain.config import Problem, register_lr_scheduler
from seqtrain.lr_schedulers.base import LRScheduler, LRSchedulerConfig
from seqtrain.lr_schedulers.warmup import check_warmup, linear_warmup

__all__ = ["InverseSqrt", "InverseSqrtConfig", "inverse_sqrt_lr"]


@dataclass(kw_only=True)
class InverseSqrtConfig(LRSchedulerConfig):
    """A linear warm-up to optimizer.lr, then decay by the inverse square root (Vaswani et al., 2017)."""

    warmup_updates: int = 4000
    """Updates of the warm-up; 0 has none, and decays from the first update on."""
    warmup_init_lr: float = 0.0
    """The learning rate of the first update, where the warm-up starts."""

    def problems(self) -> Iterator[Problem]:
        """Counts and rates are not negative."""
        yield from check_warmup(self.warmup_updates, self.warmup_init_lr)


def inverse_sqrt_lr(num_updates: int, *, peak_lr: float, warmup_updates: int, warmup_init_lr: float = 0.0) -> float:
    """With n updates done and W of warm-up: init + n (peak - init) / W while n < W, then peak √(W / n).

    Without a warm-up W counts as 1, and so does n before the first update.
    """
    if num_updates < warmup_updates:
        return linear_warmup(num_updates, warmup_updates, warmup_init_lr, peak_lr)
    return peak_lr * float(max(warmup_updates, 1) ** 0.5) * float(max(num_updates, 1) ** -0.5)


@register_lr_scheduler("inverse_sqrt", InverseSqrtConfig)
class InverseSqrt(LRScheduler):
    """See `inverse_sqrt_lr`; the peak is the optimizer's learning rate."""

    config: InverseSqrtConfig

    def step_update(self, num_updates: int) -> float:
        """See `LRScheduler`."""
        self.lr = inverse_sqrt_lr(
            num_updates,
            peak_lr=self.base_lr,
            warmup_updates=self.config.warmup_updates,
            warmup_init_lr=self.config.warmup_init_lr,
        )
        return self.lr
