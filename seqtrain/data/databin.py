"""A data-bin folder: vocabularies, tokenizers and indexed token files, under fairseq's names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqtrain.data.encoding import Codec
from seqtrain.data.files import digest, read_text
from seqtrain.data.indexed import open_indexed
from seqtrain.data.manifest import checked_digests, listed_files
from seqtrain.data.records import Records
from seqtrain.data.tokenizers import Tokenizer, load_tokenizer
from seqtrain.data.tokens import TokenTable
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.errors import DataError
from seqtrain.files import write_text_atomically

LANGUAGES_FILE = "languages.json"


@dataclass(frozen=True)
class Layout:
    """How the files of a data-bin folder are called.

    Attributes:
        languages: Source and target of a translation; ("",) for a text in one language, as fairseq keeps it.
    """

    languages: tuple[str, ...]

    def ends_lines(self, tokenizer: Tokenizer) -> bool:
        """Whether each line is a sentence with an end symbol: not in a text that is a stream of characters."""
        return len(self.languages) > 1 or not tokenizer.keeps_newlines

    def vocabulary(self, language: str) -> str:
        """The file of a language's vocabulary."""
        return f"dict.{language}.txt" if language else "dict.txt"

    def tokenizer(self, language: str) -> str:
        """The name of a language's tokenizer."""
        return f"tokenizer.{language}" if language else "tokenizer"

    def tokens(self, split: str, language: str) -> str:
        """The name of a language's token files, without `.bin` and `.idx`."""
        return f"{split}.{'-'.join(self.languages)}.{language}" if language else split

    def find_tokens(self, folder: Path, split: str, language: str) -> Path | None:
        """The prefix of a language's token files in a folder, which may have been made for the other direction."""
        for layout in (self, Layout(self.languages[::-1])):
            prefix = folder / layout.tokens(split, language)
            if prefix.with_name(f"{prefix.name}.idx").is_file():
                return prefix
        return None


def is_data_bin(folder: Path) -> bool:
    """Whether a folder holds token files rather than text."""
    return any(folder.glob("*.idx"))


def language_pairs(folder: Path) -> list[tuple[str, str]]:
    """The translation directions whose training data a data-bin folder holds."""
    names = (path.name.split(".") for path in folder.glob("train.*-*.*.idx"))
    pairs = {tuple(parts[1].split("-")) for parts in names if len(parts) == 4}
    return sorted((pair[0], pair[1]) for pair in pairs if len(pair) == 2)


def split_names(folder: Path) -> list[str]:
    """The splits of a data-bin folder."""
    names = (path.name.removesuffix(".idx") for path in folder.glob("*.idx"))
    return sorted({name.rsplit(".", 2)[0] if "-" in name else name for name in names})


def open_tokens(prefix: Path, vocabulary_size: int, *, records: Records | None = None) -> TokenTable:
    """Map a pair of token files, after comparing checksums where there are any.

    Args:
        prefix: The path of both without their suffixes.
        vocabulary_size: No token may be larger than its last number.
        records: Of files that were read before; without them both are read, which takes a second for each gigabyte.

    Raises:
        DataError: A file is missing, truncated or altered, or belongs to another vocabulary.
    """
    index, data = f"{prefix.name}.idx", f"{prefix.name}.bin"
    digests = checked_digests(prefix.parent, [index, data], records=records)

    def check() -> str:
        open_indexed(prefix, vocabulary_size=vocabulary_size)
        return "yes"

    if records is not None:
        question = f"has only tokens below {vocabulary_size} and fits the index {digests[index]}"
        records.recall(prefix.with_name(data), question, check)
    fingerprint = digest(*digests.values())
    return open_indexed(
        prefix, vocabulary_size=vocabulary_size, fingerprint=fingerprint, is_checked=records is not None
    )


def load_codecs(folder: Path, layout: Layout, *, fallback: Tokenizer | None = None) -> tuple[Codec, ...]:
    """The codec of each language; languages with equal vocabularies share one, so that embeddings can be shared.

    Args:
        folder: A data-bin or checkpoint folder.
        layout: Its names.
        fallback: The tokenizer where the folder has none, as folders that fairseq made.

    Raises:
        DataError: A file is missing or malformed, or is not what was written.
    """
    checked_digests(folder, [name for name in listed_files(folder) if not name.endswith((".bin", ".idx"))])
    codecs: list[Codec] = []
    for language in layout.languages:
        name = layout.tokenizer(language)
        vocabulary = Vocabulary.load(folder / layout.vocabulary(language))
        if fallback is not None and not (folder / f"{name}.json").is_file():
            tokenizer = fallback
        else:
            tokenizer = load_tokenizer(folder, name)
        codecs.append(share(Codec(tokenizer, vocabulary, layout.ends_lines(tokenizer)), codecs))
    return tuple(codecs)


def share(codec: Codec, others: Sequence[Codec]) -> Codec:
    """The codec, with the vocabulary object of another if they are equal."""
    for other in others:
        if other.vocabulary.fingerprint == codec.vocabulary.fingerprint:
            return Codec(codec.tokenizer, other.vocabulary, codec.append_eos)
    return codec


def save_codecs(folder: Path, layout: Layout, codecs: Sequence[Codec]) -> None:
    """Write tokenizers, vocabularies and which languages they are of."""
    for language, codec in zip(layout.languages, codecs, strict=True):
        codec.save(folder, layout.tokenizer(language), layout.vocabulary(language))
    write_text_atomically(folder / LANGUAGES_FILE, json.dumps(list(layout.languages)) + "\n")


def saved_layout(folder: Path) -> Layout | None:
    """The layout that `save_codecs` noted in a folder; None where it noted nothing.

    Raises:
        DataError: The note is malformed.
    """
    path = folder / LANGUAGES_FILE
    if not path.is_file():
        return None
    try:
        languages = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: no valid JSON: {error.msg}") from error
    if not isinstance(languages, list) or not all(isinstance(language, str) for language in languages):
        raise DataError(f"{path}: expected a list of languages")
    return Layout(tuple(languages))
