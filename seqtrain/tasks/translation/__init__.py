"""Translation: lines of one language into lines of another."""

from typing import TYPE_CHECKING, Any

from seqtrain.tasks.translation.schema import TranslationConfig

if TYPE_CHECKING:
    from seqtrain.tasks.translation.task import TranslationTask as TranslationTask

__all__ = ["TranslationConfig", "TranslationTask"]


def __getattr__(name: str) -> Any:
    """Import the class when it is first asked for: it needs torch, which composing a config must not."""
    if name == "TranslationTask":
        from seqtrain.tasks.translation.task import TranslationTask

        return TranslationTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
