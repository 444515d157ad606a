"""task=my_reversal: write each line of a text backwards. What `translation` can do, it can do too."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from seqtrain.data.databin import Layout
from seqtrain.data.text import Lines, TextFile, find_text, text_names
from seqtrain.errors import DataError
from seqtrain.tasks import register_task
from seqtrain.tasks.translation import TranslationConfig, TranslationTask


class Unit(Enum):
    """What a line is made of."""

    words = "words"
    characters = "characters"


@dataclass(kw_only=True)
class MyReversalConfig(TranslationConfig):
    """Write each line of a text backwards: from "one two three" to "three two one"."""

    source_lang: str | None = "en"
    """The suffix of the files, each line of which is a source: en for train.en. No target files are needed."""
    target_lang: str | None = "reversed"
    """What the targets are called in file names."""
    unit: Unit = Unit.words
    """What is put into reverse order: words or characters."""


@register_task("my_reversal", MyReversalConfig)
class MyReversal(TranslationTask):
    """A translation task that makes its targets; tokenizing, batching, decoding and measuring are inherited."""

    config: MyReversalConfig

    def find_layout(self) -> Layout:
        """See `TextTask`: the names of the two sides."""
        return Layout((str(self.config.source_lang), str(self.config.target_lang)))

    def text_splits(self) -> list[str]:
        """See `TextTask`."""
        suffix = f".{self.config.source_lang}"
        return [name.removesuffix(suffix) for name in text_names(self.folder) if name.endswith(suffix)]

    def read_split(self, split: str) -> tuple[Lines, Lines]:
        """See `TextTask`: the source lines and the target lines of a split."""
        name = f"{split}.{self.config.source_lang}"
        path = find_text(self.folder, name)
        if path is None:
            raise DataError(
                f"{self.folder}: has no file {name}", remedy=f"its splits are: {', '.join(self.text_splits())}"
            )
        sources = TextFile(path)
        return sources, [self.reverse(line) for line in sources]

    def reverse(self, line: str) -> str:
        """The line backwards."""
        return line[::-1] if self.config.unit is Unit.characters else " ".join(reversed(line.split()))
