"""Tokenizers: a line of text to symbols, and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from seqtrain.data.tokenizers.base import SentencePieceModel, Tokenizer, TokenizerKind, TokenizerOptions, read_settings

__all__ = [
    "SentencePieceModel",
    "Tokenizer",
    "TokenizerKind",
    "TokenizerOptions",
    "load_tokenizer",
    "make_tokenizer",
]


def make_tokenizer(options: TokenizerOptions, lines: Iterable[str]) -> Tokenizer:
    """A tokenizer made as the options say, trained on the lines if it is of a kind that is trained.

    Raises:
        DataError: The lines do not suffice, or a file that the options name is malformed.
    """
    return _class_of(options.kind).make(options, lines)


def load_tokenizer(folder: Path, name: str) -> Tokenizer:
    """Read a tokenizer that was saved under a name.

    Raises:
        DataError: A file is missing or malformed.
    """
    settings = read_settings(folder, name)
    return _class_of(TokenizerKind[str(settings["kind"])]).load(folder, name, settings)


def _class_of(kind: TokenizerKind) -> type[Tokenizer]:
    """The class of a kind; imported here, so that only the one in use is loaded."""
    match kind:
        case TokenizerKind.sentencepiece:
            from seqtrain.data.tokenizers.sentencepiece import SentencePieceTokenizer

            return SentencePieceTokenizer
        case TokenizerKind.subword_nmt:
            from seqtrain.data.tokenizers.subword_nmt import SubwordTokenizer

            return SubwordTokenizer
        case TokenizerKind.whitespace:
            from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer

            return WhitespaceTokenizer
        case TokenizerKind.characters:
            from seqtrain.data.tokenizers.characters import CharacterTokenizer

            return CharacterTokenizer
        case TokenizerKind.bytes:
            from seqtrain.data.tokenizers.bytes import ByteTokenizer

            return ByteTokenizer
