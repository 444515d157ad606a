"""What the tasks that learn from text can be told; free of torch and numpy, for composing a config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from seqtrain.config import CHANGES_NOTHING, Problem
from seqtrain.data.tokenizers.base import SentencePieceModel, TokenizerKind
from seqtrain.tasks.base import TaskConfig


@dataclass(kw_only=True)
class TextTaskConfig(TaskConfig):
    """The text and how it is cut into symbols."""

    tokenizer: TokenizerKind = TokenizerKind.sentencepiece
    """sentencepiece learns pieces from the training text; subword_nmt applies merges that subword-nmt learned
    (bpe_codes); whitespace takes text that is tokenized already; characters; bytes. A data-bin folder or a checkpoint
    brings its own tokenizer; one made by fairseq brings none and is read with whitespace, if this is sentencepiece."""
    vocab_size: int | None = None
    """Pieces that sentencepiece learns (null: 8,000; fewer where the text has no room for so many); of other symbols
    the most frequent ones that are kept, with the 4 special ones (null: all)."""
    min_count: int = 0
    """Symbols that occur less often in the training text become unknown."""
    sentencepiece_model: SentencePieceModel = SentencePieceModel.unigram
    """unigram (Kudo, 2018) or bpe (Sennrich et al., 2016)."""
    bpe_codes: str | None = None
    """The file of the merges, for tokenizer=subword_nmt."""
    remove_bpe: str | None = None
    """What joins the pieces of a word in text that is cut into pieces already ("@@ "), to be removed from decoded text,
    for tokenizer=whitespace; "sentencepiece" for pieces that begin with U+2581."""
    valid_fraction: float = 0.01
    """Where there is no valid split, so much of the end of train becomes one; 0 takes nothing."""
    cache: str | None = field(default=None, metadata=CHANGES_NOTHING)
    """The folder for tokenized text (null: $SEQTRAIN_CACHE, else ~/.cache/seqtrain)."""

    def problems(self) -> Iterator[Problem]:
        """Sizes are positive, a fraction is one, and each tokenizer has what it needs."""
        yield from super().problems()
        if self.vocab_size is not None and self.vocab_size < 1:
            yield Problem("vocab_size", f"must be positive or null, but is {self.vocab_size}")
        if self.min_count < 0:
            yield Problem("min_count", f"must be at least 0, but is {self.min_count}")
        if not 0 <= self.valid_fraction < 1:
            yield Problem("valid_fraction", f"must be in [0, 1), but is {self.valid_fraction}")
        if self.tokenizer is TokenizerKind.subword_nmt:
            if self.bpe_codes is None:
                yield Problem("bpe_codes", "is missing: tokenizer=subword_nmt needs the file of its merges")
        elif self.bpe_codes is not None:
            yield Problem("bpe_codes", f"belongs to tokenizer=subword_nmt, but tokenizer is {self.tokenizer.name}")
        if self.remove_bpe is not None and self.tokenizer in (
            TokenizerKind.subword_nmt,
            TokenizerKind.characters,
            TokenizerKind.bytes,
        ):
            yield Problem("remove_bpe", f"belongs to tokenizer=whitespace, but tokenizer is {self.tokenizer.name}")
