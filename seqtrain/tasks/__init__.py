"""Tasks: what is learned from which data. Everything that the author of one needs is importable from here."""

from seqtrain.config import register_task, registry
from seqtrain.tasks.base import Task, TaskConfig

registry.declare_kind("task", TaskConfig)

__all__ = ["Task", "TaskConfig", "register_task"]

# The built-ins register themselves when their schemas are imported, which needs the names above.
# ruff: noqa: E402
from seqtrain.tasks.language_modeling import LanguageModelingConfig as LanguageModelingConfig
from seqtrain.tasks.translation import TranslationConfig as TranslationConfig
