"""Lines of text to token numbers: in parallel where it pays, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from seqtrain.data.chunk import Chunk, split_lines, tokenize_chunk
from seqtrain.data.tokenizers import Tokenizer
from seqtrain.data.tokens import IntArray
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.data.workers import tokenize_in_processes

_CHUNKS_WITHOUT_WORKERS = 12  # below this, starting processes takes longer than the work


@dataclass(frozen=True)
class Codec:
    """The way between the text of one language and token numbers.

    Attributes:
        tokenizer: Text to symbols.
        vocabulary: Symbols to numbers.
        append_eos: Whether a line ends with the end symbol.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    append_eos: bool = True

    def encode(self, line: str) -> IntArray:
        """The numbers of a line, (T,) int64."""
        return self.vocabulary.encode(self.tokenizer.tokenize(line), append_eos=self.append_eos)

    def decode(self, numbers: Iterable[int], unknown: str = "<unk>") -> str:
        """The text of numbers, without special symbols.

        Args:
            numbers: Token numbers.
            unknown: What is written for the unknown symbol.
        """
        vocabulary = self.vocabulary
        symbols = [
            unknown if number == vocabulary.unk else vocabulary.symbol(number)
            for number in map(int, numbers)
            if number >= vocabulary.unk
        ]
        return self.tokenizer.detokenize(symbols)

    @property
    def fingerprint(self) -> str:
        """A digest of all that decides which numbers a text becomes."""
        return f"{self.tokenizer.fingerprint} {self.vocabulary.fingerprint} {self.append_eos}"

    def save(self, folder: Path, tokenizer_name: str, vocabulary_name: str) -> None:
        """Write tokenizer and vocabulary into a folder."""
        self.tokenizer.save(folder, tokenizer_name)
        self.vocabulary.save(folder / vocabulary_name)


def number_lines(
    tokens: np.ndarray, lengths: IntArray, table: IntArray, *, append_eos: bool
) -> tuple[IntArray, IntArray]:
    """Give the symbols of lines their numbers.

    Args:
        tokens: (num_tokens,) the symbols of all lines in a row.
        lengths: (num_lines,) tokens of each line.
        table: The number of each symbol.
        append_eos: Whether to put the end symbol behind each line.

    Returns:
        The numbers of all lines in a row, and the lengths of the lines, end symbols included.
    """
    numbers = table[tokens]
    if not append_eos:
        return numbers, lengths
    return np.insert(numbers, np.cumsum(lengths), Vocabulary.eos), lengths + 1


def tokenize(lines: Iterable[str], tokenizer: Tokenizer, *, num_workers: int | None = None) -> Iterator[Chunk]:
    """Cut lines into symbols, chunk by chunk, in the order of the lines.

    Args:
        lines: Of text.
        tokenizer: Cuts a line.
        num_workers: Processes; None takes one a core. A short text takes none.
    """
    chunks = split_lines(lines)
    count = num_workers if num_workers is not None else _num_cores()
    first = list(islice(chunks, _CHUNKS_WITHOUT_WORKERS))
    if count <= 1 or len(first) < _CHUNKS_WITHOUT_WORKERS:
        return (tokenize_chunk(chunk, tokenizer) for chunk in chain(first, chunks))
    return tokenize_in_processes(chain(first, chunks), tokenizer, count)


def _num_cores() -> int:
    """The cores that this process may use, where the system tells; else all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
