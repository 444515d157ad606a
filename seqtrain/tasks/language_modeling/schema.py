"""The schema of the language-modelling task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seqtrain.config import Problem, register_task
from seqtrain.data.break_mode import BreakMode
from seqtrain.tasks.schema import TextTaskConfig


@dataclass(kw_only=True)
class LanguageModelingConfig(TextTaskConfig):
    """Predict each token of a text from those before it."""

    tokens_per_sample: int = 512
    """Tokens of a block, the longest text that the model sees at once."""
    sample_break_mode: BreakMode = BreakMode.none
    """Where a block may end: none, anywhere; complete, behind a sentence; complete_doc, behind a sentence, and no block
    reaches over an empty line; eos, each sentence is a block."""
    valid_fraction: float = 0.1
    """Where there is no valid split, so much of the end of the text becomes one; 0 takes nothing."""

    def problems(self) -> Iterator[Problem]:
        """A block has a token at least."""
        yield from super().problems()
        if self.tokens_per_sample < 1:
            yield Problem("tokens_per_sample", f"must be at least 1, but is {self.tokens_per_sample}")


register_task("language_modeling", LanguageModelingConfig, at=".task:LanguageModelingTask")
