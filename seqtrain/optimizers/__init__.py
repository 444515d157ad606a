"""Optimizers: what turns gradients into steps. Everything that the author of one needs is importable from here."""

from seqtrain.config import register_optimizer, registry
from seqtrain.optimizers.base import OptimizerConfig

registry.declare_kind("optimizer", OptimizerConfig)

__all__ = ["OptimizerConfig", "register_optimizer"]

# The built-ins register themselves when their schemas are imported, which needs the names above.
# ruff: noqa: E402
from seqtrain.optimizers.adam import AdamConfig as AdamConfig
from seqtrain.optimizers.adamw import AdamWConfig as AdamWConfig
from seqtrain.optimizers.nag import NAGConfig as NAGConfig
from seqtrain.optimizers.sgd import SGDConfig as SGDConfig
