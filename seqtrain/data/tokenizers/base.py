"""What a tokenizer promises, and how it is kept in a folder."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from seqtrain.data.files import digest, read_text
from seqtrain.errors import DataError
from seqtrain.files import write_bytes_atomically, write_text_atomically

if TYPE_CHECKING:
    from seqtrain.data.chunk import Chunk

NEWLINE = "<newline>"


class TokenizerKind(Enum):
    """How a line of text is cut into symbols."""

    sentencepiece = "sentencepiece"
    subword_nmt = "subword_nmt"
    whitespace = "whitespace"
    characters = "characters"
    bytes = "bytes"


class SentencePieceModel(Enum):
    """How sentencepiece finds its pieces."""

    unigram = "unigram"
    bpe = "bpe"


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions:
    """How to make a tokenizer; each kind reads what concerns it.

    Attributes:
        kind: Which one.
        vocab_size: Pieces that sentencepiece learns.
        sentencepiece_model: How it finds them.
        bpe_codes: The file of the merges that subword-nmt learned.
        remove_bpe: What joins the pieces of a word in text that is cut into pieces already.
    """

    kind: TokenizerKind
    vocab_size: int = 8000
    sentencepiece_model: SentencePieceModel = SentencePieceModel.unigram
    bpe_codes: str | None = None
    remove_bpe: str | None = None


class Tokenizer(ABC):
    """Cuts a line of text into symbols, and puts symbols together again. It can be sent to other processes."""

    kind: ClassVar[TokenizerKind]
    keeps_newlines: ClassVar[bool] = False
    """Whether a line break is a symbol, so that a language model learns a stream of text instead of sentences."""

    @classmethod
    def make(cls, options: TokenizerOptions, lines: Iterable[str]) -> Self:
        """Make a tokenizer, from the training text if it is of a kind that is trained."""
        return cls()

    @abstractmethod
    def tokenize(self, line: str) -> list[str]:
        """The symbols of a line."""

    def tokenize_lines(self, lines: Sequence[str]) -> Chunk:
        """The symbols of many lines; the same as of one after the other, and faster for some kinds."""
        from seqtrain.data.chunk import chunk_of  # numpy, which a command that shows its config does without

        return chunk_of([self.tokenize(line) for line in lines])

    @abstractmethod
    def detokenize(self, symbols: Sequence[str]) -> str:
        """The text that symbols stand for."""

    def plain_text(self, line: str) -> str:
        """A line of a corpus as `detokenize` would write it: what a hypothesis is compared with."""
        return line

    @property
    def alphabet(self) -> tuple[str, ...] | None:
        """All symbols that there can be, if they are known beforehand."""
        return None

    # In a folder: NAME.json, and one more file for what is no setting

    @property
    def settings(self) -> dict[str, Any]:
        """What `NAME.json` holds beside the kind."""
        return {}

    @property
    def content(self) -> tuple[str, bytes] | None:
        """The suffix and the bytes of a second file, or None."""
        return None

    @property
    def fingerprint(self) -> str:
        """A digest of all that decides how text is cut."""
        return digest(self.kind.name, sorted(self.settings.items()), self.content)

    def save(self, folder: Path, name: str) -> None:
        """Write the tokenizer under a name: the same in two folders, nothing but base names."""
        if self.content is not None:
            suffix, content = self.content
            write_bytes_atomically(folder / f"{name}.{suffix}", content)
        settings = {"kind": self.kind.name, **self.settings}
        write_text_atomically(folder / f"{name}.json", json.dumps(settings, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path, name: str, settings: dict[str, Any]) -> Self:
        """Read what `save` wrote."""
        return cls()


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """The content of a tokenizer's `NAME.json`.

    Raises:
        DataError: It is missing or malformed.
    """
    path = folder / f"{name}.json"
    try:
        settings = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: no valid JSON: {error.msg}") from error
    if not isinstance(settings, dict) or str(settings.get("kind")) not in TokenizerKind.__members__:
        raise DataError(
            f"{path}: expected a tokenizer's settings with one of kind {', '.join(TokenizerKind.__members__)}"
        )
    return settings
