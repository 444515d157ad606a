"""Text that is cut into symbols already, with white space between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from seqtrain.data.chunk import Chunk, chunk_of
from seqtrain.data.tokenizers.base import Tokenizer, TokenizerKind, TokenizerOptions

SENTENCEPIECE = "sentencepiece"
_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"


class WhitespaceTokenizer(Tokenizer):
    """Splits at white space.

    Attributes:
        remove_bpe: What joins the pieces of a word, with the space behind it ("@@ "), to be removed from decoded text;
            "sentencepiece" for pieces that mark the beginning of a word; None for whole words.
    """

    kind = TokenizerKind.whitespace

    def __init__(self, remove_bpe: str | None = None) -> None:
        self.remove_bpe = remove_bpe

    @classmethod
    def make(cls, options: TokenizerOptions, lines: Iterable[str]) -> Self:
        """See `Tokenizer`."""
        return cls(options.remove_bpe)

    @classmethod
    def load(cls, folder: Path, name: str, settings: dict[str, Any]) -> Self:
        """See `Tokenizer`."""
        return cls(settings.get("remove_bpe"))

    @property
    def settings(self) -> dict[str, Any]:
        """See `Tokenizer`."""
        return {"remove_bpe": self.remove_bpe}

    def tokenize(self, line: str) -> list[str]:
        """See `Tokenizer`."""
        return line.split()

    def tokenize_lines(self, lines: Sequence[str]) -> Chunk:
        """See `Tokenizer`."""
        return chunk_of([line.split() for line in lines])

    def detokenize(self, symbols: Sequence[str]) -> str:
        """See `Tokenizer`."""
        return self.plain_text(" ".join(symbols))

    def plain_text(self, line: str) -> str:
        """The line without joints."""
        if self.remove_bpe == SENTENCEPIECE:
            return line.replace(" ", "").replace(_WORD_START, " ").strip()
        return join_pieces(line, self.remove_bpe) if self.remove_bpe else line


def join_pieces(text: str, joint: str) -> str:
    """The text without joints, one at its very end included."""
    return f"{text} ".replace(joint, "").rstrip()
