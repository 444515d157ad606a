"""Some lines of text as symbols: what passes between processes that tokenize."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seqtrain.data.text import TextFile
from seqtrain.data.tokens import IntArray

if TYPE_CHECKING:
    from seqtrain.data.tokenizers import Tokenizer

_CHUNK_CHARACTERS = 2**19


class Numbers(dict[str, int]):
    """Gives each symbol the next number when it is first asked for.

    Attributes:
        symbols: By number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.symbols: list[str] = []

    def __missing__(self, symbol: str) -> int:
        number = self[symbol] = len(self.symbols)
        self.symbols.append(symbol)
        return number


@dataclass(frozen=True)
class Chunk:
    """Some lines as symbols.

    Attributes:
        symbols: Each once, in any order: it may depend on what the tokenizer has cut before.
        tokens: (num_tokens,) positions in `symbols`.
        lengths: (num_lines,) tokens of each line.
    """

    symbols: list[str]
    tokens: npt.NDArray[np.uint32]
    lengths: IntArray

    @classmethod
    def of(cls, symbols: Sequence[str], tokens: np.ndarray, lengths: IntArray) -> Chunk:
        """A chunk of those symbols that occur.

        Args:
            symbols: All that there are.
            tokens: (num_tokens,) positions among them.
            lengths: (num_lines,) tokens of each line.
        """
        is_used = np.bincount(tokens) > 0
        used = [symbols[number] for number in np.flatnonzero(is_used).tolist()]
        return cls(used, (np.cumsum(is_used, dtype=np.uint32) - np.uint32(1))[tokens], lengths)


def number_symbols(lines: Sequence[Sequence[str]], numbers: Numbers) -> tuple[npt.NDArray[np.uint32], IntArray]:
    """The numbers of the symbols of all lines in a row, (num_tokens,), and of how many each line is made."""
    lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    tokens = map(numbers.__getitem__, chain.from_iterable(lines))
    return np.fromiter(tokens, np.uint32, int(lengths.sum())), lengths


def chunk_of(lines: Sequence[Sequence[str]]) -> Chunk:
    """The chunk of lines that are cut into symbols."""
    numbers = Numbers()
    tokens, lengths = number_symbols(lines, numbers)
    return Chunk(numbers.symbols, tokens, lengths)


def tokenize_chunk(lines: Sequence[str], tokenizer: Tokenizer) -> Chunk:
    """Cut lines into symbols."""
    return tokenizer.tokenize_lines(lines)


def split_lines(lines: Iterable[str]) -> Iterator[Sequence[str]]:
    """Some lines at a time, of half a million characters or a little more."""
    if isinstance(lines, TextFile):
        yield from lines.blocks()
        return
    chunk: list[str] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line) + 1
        if size >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
