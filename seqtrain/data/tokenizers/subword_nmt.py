"""Byte-pair encoding with merges that subword-nmt learned (Sennrich et al., 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from seqtrain.data.chunk import Chunk
from seqtrain.data.files import read_text
from seqtrain.data.tokenizers.base import Tokenizer, TokenizerKind, TokenizerOptions
from seqtrain.data.tokenizers.merging import Merges
from seqtrain.data.tokenizers.whitespace import join_pieces
from seqtrain.data.tokenizers.words import WordTable
from seqtrain.errors import ConfigError, DataError

_JOINT = "@@"


class SubwordTokenizer(Tokenizer):
    """Cuts words, which white space separates, into pieces; every piece but a word's last ends in "@@"."""

    kind = TokenizerKind.subword_nmt

    def __init__(self, codes: str, origin: str) -> None:
        """Read the merges.

        Args:
            codes: The text of a file of codes.
            origin: Where it comes from, for messages.
        """
        self._codes = codes
        self._origin = origin
        lines = codes.removesuffix("\n").split("\n")
        version = (0, 1)
        if lines[0].startswith("#version:"):
            version = _parse_version(lines.pop(0), origin)
        ranks: dict[tuple[str, str], int] = {}
        for number, line in enumerate(lines):
            pieces = line.rstrip("\r ").split(" ")
            if len(pieces) != 2:
                place = number + 1 + (version != (0, 1))
                raise DataError(f"{origin}:{place}: expected the two pieces of a merge, but found {line[:80]!r}")
            ranks.setdefault((pieces[0], pieces[1]), number)
        self._words = WordTable(Merges(ranks, separate_end=version == (0, 1)), _JOINT)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the codes to another process, not the cache."""
        return type(self), (self._codes, self._origin)

    @classmethod
    def make(cls, options: TokenizerOptions, lines: Iterable[str]) -> Self:
        """See `Tokenizer`."""
        if options.bpe_codes is None:
            raise ConfigError(
                "task.tokenizer=subword_nmt needs the file of its merges", remedy="set task.bpe_codes=FILE"
            )
        return cls(read_text(Path(options.bpe_codes)), options.bpe_codes)

    @classmethod
    def load(cls, folder: Path, name: str, settings: dict[str, Any]) -> Self:
        """See `Tokenizer`."""
        path = folder / f"{name}.codes"
        return cls(read_text(path), str(path))

    @property
    def content(self) -> tuple[str, bytes]:
        """See `Tokenizer`."""
        return "codes", self._codes.encode()

    def tokenize(self, line: str) -> list[str]:
        """See `Tokenizer`."""
        chunk = self.tokenize_lines([line])
        return [chunk.symbols[token] for token in chunk.tokens.tolist()]

    def tokenize_lines(self, lines: Sequence[str]) -> Chunk:
        """See `Tokenizer`."""
        return self._words.tokenize(lines)

    def detokenize(self, symbols: Sequence[str]) -> str:
        """See `Tokenizer`."""
        return join_pieces(" ".join(symbols), f"{_JOINT} ")


def _parse_version(line: str, origin: str) -> tuple[int, int]:
    """The version of a file of codes: in 0.1 the end of a word is a symbol of its own."""
    version = line.removeprefix("#version:").strip()
    if version not in ("0.1", "0.2"):
        raise DataError(f"{origin}:1: codes of version {version!r} are unknown; there are 0.1 and 0.2")
    return (0, 1) if version == "0.1" else (0, 2)
