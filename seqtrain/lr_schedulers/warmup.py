"""The warm-up that several schedules begin with."""

from __future__ import annotations

from collections.abc import Iterator

from seqtrain.config import Problem

__all__ = ["check_warmup", "linear_warmup"]


def linear_warmup(num_updates: int, warmup_updates: int, first_lr: float, peak_lr: float) -> float:
    """The rate after num_updates < warmup_updates updates, on the line from first_lr to peak_lr."""
    return first_lr + num_updates * ((peak_lr - first_lr) / warmup_updates)


def check_warmup(warmup_updates: int, warmup_init_lr: float = 0.0) -> Iterator[Problem]:
    """The problems of a warm-up: a negative length or rate."""
    if warmup_updates < 0:
        yield Problem("warmup_updates", f"must be at least 0, but is {warmup_updates}")
    if warmup_init_lr < 0:
        yield Problem("warmup_init_lr", f"must be at least 0, but is {warmup_init_lr}")
