"""Optimizers: what turns gradients into steps. Everything that the author of one needs is importable from here."""

from seqtrain.config import register_optimizer, registry
from seqtrain.optimizers.base import OptimizerConfig

registry.declare_kind("optimizer", OptimizerConfig)

__all__ = ["OptimizerConfig", "register_optimizer"]
