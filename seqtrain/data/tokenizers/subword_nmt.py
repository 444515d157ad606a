"""Byte-pair encoding with merges that subword-nmt learned (Sennrich et al., 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from seqtrain.data.files import read_text
from seqtrain.data.tokenizers.base import Tokenizer, TokenizerKind, TokenizerOptions
from seqtrain.data.tokenizers.whitespace import join_pieces
from seqtrain.errors import ConfigError, DataError

_JOINT = "@@"
_END_OF_WORD = "</w>"
_CACHED_WORDS = 2**18


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
        self._separate_end = version == (0, 1)
        self._ranks: dict[tuple[str, str], int] = {}
        for number, line in enumerate(lines):
            pieces = line.rstrip("\r ").split(" ")
            if len(pieces) != 2:
                place = number + 1 + (version != (0, 1))
                raise DataError(f"{origin}:{place}: expected the two pieces of a merge, but found {line[:80]!r}")
            self._ranks.setdefault((pieces[0], pieces[1]), number)
        self._cut = lru_cache(maxsize=_CACHED_WORDS)(self._cut_word)

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
        return [piece for word in line.split() for piece in self._cut(word)]

    def detokenize(self, symbols: Sequence[str]) -> str:
        """See `Tokenizer`."""
        return join_pieces(" ".join(symbols), f"{_JOINT} ")

    def _cut_word(self, word: str) -> tuple[str, ...]:
        """The pieces of a word: the merge that was learned first is done first, wherever it applies."""
        pieces = [*word, _END_OF_WORD] if self._separate_end else [*word[:-1], word[-1] + _END_OF_WORD]
        while len(pieces) > 1:
            pairs = [pair for pair in pairwise(pieces) if pair in self._ranks]
            if not pairs:
                break
            pieces = _merge(pieces, min(pairs, key=self._ranks.__getitem__))
        if pieces[-1] == _END_OF_WORD:
            pieces.pop()
        else:
            pieces[-1] = pieces[-1].removesuffix(_END_OF_WORD)
        return (*(piece + _JOINT for piece in pieces[:-1]), pieces[-1])


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces with every occurrence of the pair joined, from left to right."""
    merged: list[str] = []
    position = 0
    while position < len(pieces):
        if tuple(pieces[position : position + 2]) == pair:
            merged.append(pair[0] + pair[1])
            position += 2
        else:
            merged.append(pieces[position])
            position += 1
    return merged


def _parse_version(line: str, origin: str) -> tuple[int, int]:
    """The version of a file of codes: in 0.1 the end of a word is a symbol of its own."""
    version = line.removeprefix("#version:").strip()
    if version not in ("0.1", "0.2"):
        raise DataError(f"{origin}:1: codes of version {version!r} are unknown; there are 0.1 and 0.2")
    return (0, 1) if version == "0.1" else (0, 2)
