"""Learning-rate schedules. Everything that the author of one needs is importable from here."""

from seqtrain.config import register_lr_scheduler, registry
from seqtrain.lr_schedulers.base import LRScheduler, LRSchedulerConfig

registry.declare_kind("lr_scheduler", LRSchedulerConfig)

__all__ = ["LRScheduler", "LRSchedulerConfig", "register_lr_scheduler"]
