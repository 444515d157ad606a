"""The schema of the translation task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from seqtrain.config import CHANGES_NOTHING, Problem, register_task
from seqtrain.tasks.schema import TextTaskConfig

BLEU_TOKENIZERS = ("13a", "none", "intl", "char", "zh", "ja-mecab", "ko-mecab", "spm", "flores101", "flores200")


@dataclass(kw_only=True)
class TranslationConfig(TextTaskConfig):
    """Translate lines of one language into lines of another."""

    source_lang: str | None = None
    """The suffix of the source files: en for train.en. Null takes what the names of the files leave open."""
    target_lang: str | None = None
    """The suffix of the target files."""
    joined_vocabulary: bool = True
    """One tokenizer and one vocabulary for both languages, so that embeddings can be shared."""
    max_source_positions: int = 1024
    """Longer sources, in tokens, are left out and counted."""
    max_target_positions: int = 1024
    """Longer targets, in tokens, are left out and counted."""
    bleu_tokenizer: str = field(default="13a", metadata=CHANGES_NOTHING)
    """How sacrebleu tokenizes for BLEU: 13a; none for text that is tokenized already; zh, ja-mecab, char ..."""

    def problems(self) -> Iterator[Problem]:
        """The languages differ; limits are positive; sacrebleu knows its tokenizer."""
        yield from super().problems()
        if self.source_lang is not None and self.source_lang == self.target_lang:
            yield Problem("target_lang", f"is {self.target_lang}, as source_lang is: files of one name cannot be both")
        for name in ("max_source_positions", "max_target_positions"):
            if getattr(self, name) < 1:
                yield Problem(name, f"must be at least 1, but is {getattr(self, name)}")
        if self.bleu_tokenizer not in BLEU_TOKENIZERS:
            yield Problem("bleu_tokenizer", f"must be one of {', '.join(BLEU_TOKENIZERS)}, not {self.bleu_tokenizer}")


register_task("translation", TranslationConfig, at=".task:TranslationTask")
