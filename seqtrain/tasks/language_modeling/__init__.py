"""Language modelling: predict each token of a text from those before it."""

from typing import TYPE_CHECKING, Any

from seqtrain.tasks.language_modeling.schema import LanguageModelingConfig

if TYPE_CHECKING:
    from seqtrain.tasks.language_modeling.task import LanguageModelingTask as LanguageModelingTask

__all__ = ["LanguageModelingConfig", "LanguageModelingTask"]


def __getattr__(name: str) -> Any:
    """Import the class when it is first asked for: it needs torch, which composing a config must not."""
    if name == "LanguageModelingTask":
        from seqtrain.tasks.language_modeling.task import LanguageModelingTask

        return LanguageModelingTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
