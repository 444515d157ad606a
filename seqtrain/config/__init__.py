"""All that knows Hydra and OmegaConf; nothing outside this package does."""

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
