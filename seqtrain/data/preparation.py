"""From the lines of a corpus to a data-bin folder: tokenizers, vocabularies, token files."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

import numpy as np

from seqtrain.data.chunk import Chunk
from seqtrain.data.databin import Layout, save_codecs, share
from seqtrain.data.encoding import Codec, number_lines, tokenize
from seqtrain.data.indexed import IndexedWriter, open_indexed
from seqtrain.data.progress import track_lines
from seqtrain.data.text import Lines
from seqtrain.data.tokenizers import Tokenizer, TokenizerKind, TokenizerOptions, make_tokenizer
from seqtrain.data.tokens import blocks
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.errors import DataError

logger = logging.getLogger(__name__)

_PROVISIONAL_SIZE = 2**32 - 2
_BLOCK_TOKENS = 2**24
_MAX_TOKENIZER_LINES = 1_000_000  # more lines hardly change the pieces, and are all kept in memory


@dataclass(frozen=True, kw_only=True)
class CodecOptions:
    """How tokenizers and vocabularies are made from the training text.

    Attributes:
        tokenizer: Its kind and size.
        joined: Whether the languages have one tokenizer and one vocabulary.
        num_words: The most symbols a vocabulary has, or None.
        min_count: Symbols that occur less often become unknown.
    """

    tokenizer: TokenizerOptions
    joined: bool
    num_words: int | None = None
    min_count: int = 0


def prepare(
    train: Sequence[Lines], layout: Layout, folder: Path, *, options: CodecOptions, num_workers: int | None = None
) -> tuple[Codec, ...]:
    """Make tokenizers and vocabularies from the training text, and write them with the token files of `train`.

    The text is tokenized once: its symbols get provisional numbers in the order in which they come up, which become
    those of the vocabulary when all are counted.

    Args:
        train: The lines of each language.
        layout: The languages and the names of the files.
        folder: Where to write.
        options: How to make them.
        num_workers: Processes; None takes one a core.

    Raises:
        DataError: The text is malformed or empty.
    """
    tokenizers = _make_tokenizers(train, options)
    drafts = [
        _Draft.write(lines, tokenizer, folder / f"draft.{layout.tokens('train', language)}", num_workers=num_workers)
        for language, lines, tokenizer in zip(layout.languages, train, tokenizers, strict=True)
    ]
    codecs: list[Codec] = []
    for draft, tokenizer in zip(drafts, tokenizers, strict=True):
        counts = sum((other.counts for other in drafts), Counter()) if options.joined else draft.counts
        vocabulary = _make_vocabulary(counts, tokenizer, options)
        codecs.append(share(Codec(tokenizer, vocabulary, layout.ends_lines(tokenizer)), codecs))
    for language, draft, codec in zip(layout.languages, drafts, codecs, strict=True):
        draft.rewrite(folder / layout.tokens("train", language), codec)
    for name, codec in zip(layout.languages, codecs[:1] if options.joined else codecs, strict=False):
        label = f" of {name}" if name and not options.joined else ""
        logger.info("vocabulary%s: %d symbols", label, len(codec.vocabulary))
    save_codecs(folder, layout, codecs)
    return tuple(codecs)


def encode_split(
    lines: Sequence[Lines],
    codecs: Sequence[Codec],
    prefixes: Sequence[Path],
    *,
    num_workers: int | None = None,
) -> None:
    """Write the token files of a split.

    Args:
        lines: Of each language.
        codecs: Of each language.
        prefixes: The paths of each language's files without `.bin` and `.idx`.
        num_workers: Processes; None takes one a core.
    """
    for side, codec, prefix in zip(lines, codecs, prefixes, strict=True):
        with IndexedWriter(prefix, vocabulary_size=len(codec.vocabulary)) as writer:
            for chunk in _tokenize(side, codec.tokenizer, prefix.name, num_workers):
                table = codec.vocabulary.text_indices(chunk.symbols)
                writer.write(*number_lines(chunk.tokens, chunk.lengths, table, append_eos=codec.append_eos))


@dataclass(frozen=True)
class _Draft:
    """A tokenized text whose symbols have provisional numbers.

    Attributes:
        prefix: Of its token files.
        symbols: By provisional number.
        counts: How often each occurs.
    """

    prefix: Path
    symbols: list[str]
    counts: Counter[str]

    @classmethod
    def write(cls, lines: Lines, tokenizer: Tokenizer, prefix: Path, *, num_workers: int | None) -> _Draft:
        """Tokenize lines into token files of provisional numbers."""
        numbers: dict[str, int] = {}
        counts: Counter[str] = Counter()
        with IndexedWriter(prefix, vocabulary_size=_PROVISIONAL_SIZE) as writer:
            for chunk in _tokenize(lines, tokenizer, prefix.name.removeprefix("draft."), num_workers):
                table = np.array([numbers.setdefault(symbol, len(numbers)) for symbol in chunk.symbols], dtype=np.int64)
                occurrences = np.bincount(chunk.tokens, minlength=len(chunk.symbols)).tolist()
                counts.update(dict(zip(chunk.symbols, occurrences, strict=True)))
                writer.write(table[chunk.tokens], chunk.lengths)
        return cls(prefix, list(numbers), counts)

    def rewrite(self, prefix: Path, codec: Codec) -> None:
        """Write the text with the numbers of a vocabulary, and remove the draft."""
        table = codec.vocabulary.text_indices(self.symbols)
        draft = open_indexed(self.prefix, vocabulary_size=_PROVISIONAL_SIZE)
        with IndexedWriter(prefix, vocabulary_size=len(codec.vocabulary)) as writer:
            for start, stop in blocks(draft.offsets, _BLOCK_TOKENS):
                tokens = draft.tokens[draft.offsets[start] : draft.offsets[stop]]
                lengths = np.diff(draft.offsets[start : stop + 1])
                writer.write(*number_lines(tokens, lengths, table, append_eos=codec.append_eos))
        for suffix in (".bin", ".idx"):
            self.prefix.with_name(self.prefix.name + suffix).unlink()


def _make_tokenizers(train: Sequence[Lines], options: CodecOptions) -> list[Tokenizer]:
    """One for each language, or the same for all."""
    groups = [list(train)] if options.joined else [[lines] for lines in train]
    tokenizers = [make_tokenizer(options.tokenizer, _sample(group, options.tokenizer.kind)) for group in groups]
    return tokenizers * len(train) if options.joined else tokenizers


def _sample(group: Sequence[Lines], kind: TokenizerKind) -> Iterator[str]:
    """Lines to learn a tokenizer from, evenly from the whole text; of several languages alternately."""
    if kind is not TokenizerKind.sentencepiece:
        return iter(())
    num_lines = sum(len(lines) for lines in group)
    step = -(-num_lines // _MAX_TOKENIZER_LINES) or 1
    logger.info("training sentencepiece on %s", f"{num_lines} lines" + (f", one in {step}" if step > 1 else ""))
    sides = [islice(lines, None, None, step) for lines in group]
    return (line for line in chain.from_iterable(zip_longest(*sides)) if line is not None)


def _make_vocabulary(counts: Counter[str], tokenizer: Tokenizer, options: CodecOptions) -> Vocabulary:
    if not counts:
        raise DataError("the training text is empty")
    if tokenizer.alphabet is not None:
        return Vocabulary.build({**dict.fromkeys(tokenizer.alphabet, 0), **counts})
    return Vocabulary.build(counts, threshold=options.min_count, num_words=options.num_words)


def _tokenize(lines: Lines, tokenizer: Tokenizer, label: str, num_workers: int | None) -> Iterator[Chunk]:
    begin = time.perf_counter()
    with track_lines(f"tokenizing {label}", len(lines)) as advance:
        for chunk in tokenize(lines, tokenizer, num_workers=num_workers):
            yield chunk
            advance(len(chunk.lengths))
    logger.info("tokenized %s: %d lines in %.1f s", label, len(lines), time.perf_counter() - begin)
