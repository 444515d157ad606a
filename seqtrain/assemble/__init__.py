"""Config to objects: the only package that knows all kinds, the trainer and the generators.

Nothing heavy is imported at the top: the commands import this before they know whether they need torch.
"""

from seqtrain.assemble.components import (
    Runtime,
    build_criterion,
    build_lr_scheduler,
    build_model,
    build_optimizer,
    build_task,
    prepare_runtime,
)
from seqtrain.assemble.trained import load, load_evaluator, load_generator, load_trained
from seqtrain.assemble.trainer import build_learner, build_trainer

__all__ = [
    "Runtime",
    "build_criterion",
    "build_learner",
    "build_lr_scheduler",
    "build_model",
    "build_optimizer",
    "build_task",
    "build_trainer",
    "load",
    "load_evaluator",
    "load_generator",
    "load_trained",
    "prepare_runtime",
]
