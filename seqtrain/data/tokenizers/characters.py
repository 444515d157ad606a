"""Each character is a symbol."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.data.tokenizers.base import NEWLINE, Tokenizer, TokenizerKind


class CharacterTokenizer(Tokenizer):
    """Cuts text into Unicode code points.

    A space is the symbol " ". A line break cannot stand in a vocabulary file, where a line is a symbol, so its symbol
    is spelled out; no character is spelled with more than one, so that there is no mistaking it.
    """

    kind = TokenizerKind.characters
    keeps_newlines = True

    def tokenize(self, line: str) -> list[str]:
        """See `Tokenizer`."""
        symbols = list(line)
        return symbols if "\n" not in line else [NEWLINE if symbol == "\n" else symbol for symbol in symbols]

    def detokenize(self, symbols: Sequence[str]) -> str:
        """See `Tokenizer`."""
        return "".join("\n" if symbol == NEWLINE else symbol for symbol in symbols)
