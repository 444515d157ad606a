"""All that knows Hydra and OmegaConf; nothing outside this package does."""

from seqtrain.config.key_classes import CHANGES_NOTHING, CHANGES_SPEED
from seqtrain.config.registry import (
    register_criterion,
    register_lr_scheduler,
    register_model,
    register_optimizer,
    register_task,
    registry,
)
from seqtrain.config.schema import II, MISSING, PluginConfig, Problem, Section

__all__ = [
    "CHANGES_NOTHING",
    "CHANGES_SPEED",
    "II",
    "MISSING",
    "PluginConfig",
    "Problem",
    "Section",
    "register_criterion",
    "register_lr_scheduler",
    "register_model",
    "register_optimizer",
    "register_task",
    "registry",
]
