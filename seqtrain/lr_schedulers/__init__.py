"""Learning-rate schedules. Everything that the author of one needs is importable from here."""

from seqtrain.config import register_lr_scheduler, registry
from seqtrain.lr_schedulers.base import LRScheduler, LRSchedulerConfig

registry.declare_kind("lr_scheduler", LRSchedulerConfig)

__all__ = ["LRScheduler", "LRSchedulerConfig", "register_lr_scheduler"]

# The built-ins register themselves when their schemas are imported, which needs the names above.
# ruff: noqa: E402
from seqtrain.lr_schedulers.cosine import CosineConfig as CosineConfig
from seqtrain.lr_schedulers.fixed import FixedConfig as FixedConfig
from seqtrain.lr_schedulers.inverse_sqrt import InverseSqrtConfig as InverseSqrtConfig
from seqtrain.lr_schedulers.polynomial_decay import PolynomialDecayConfig as PolynomialDecayConfig
