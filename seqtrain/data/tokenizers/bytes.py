"""Each byte of the UTF-8 text is a symbol: no text has unknown symbols."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.data.tokenizers.base import Tokenizer, TokenizerKind

_SYMBOLS = tuple(f"{byte:02x}" for byte in range(256))
_BYTES = {symbol: byte for byte, symbol in enumerate(_SYMBOLS)}


class ByteTokenizer(Tokenizer):
    """Cuts text into bytes, written as two hexadecimal digits."""

    kind = TokenizerKind.bytes
    keeps_newlines = True

    @property
    def alphabet(self) -> tuple[str, ...]:
        """All 256 bytes."""
        return _SYMBOLS

    def tokenize(self, line: str) -> list[str]:
        """See `Tokenizer`."""
        return [_SYMBOLS[byte] for byte in line.encode()]

    def detokenize(self, symbols: Sequence[str]) -> str:
        """The text; bytes that are no UTF-8, which a model may write, become the replacement character."""
        return bytes(_BYTES[symbol] for symbol in symbols if symbol in _BYTES).decode("utf-8", errors="replace")
