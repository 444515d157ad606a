"""Some lines of text as symbols: what passes between processes that tokenize."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqtrain.data.tokenizers import Tokenizer
from seqtrain.data.tokens import IntArray

_CHUNK_CHARACTERS = 2**19


@dataclass(frozen=True)
class Chunk:
    """Some lines as symbols.

    Attributes:
        symbols: Each once, in the order of their first occurrence.
        tokens: (num_tokens,) positions in `symbols`.
        lengths: (num_lines,) tokens of each line.
    """

    symbols: list[str]
    tokens: npt.NDArray[np.uint32]
    lengths: IntArray


def tokenize_chunk(lines: Sequence[str], tokenizer: Tokenizer) -> Chunk:
    """Cut lines into symbols."""
    numbers: dict[str, int] = {}
    tokens: list[int] = []
    lengths = np.empty(len(lines), dtype=np.int64)
    for position, line in enumerate(lines):
        symbols = tokenizer.tokenize(line)
        tokens += [numbers.setdefault(symbol, len(numbers)) for symbol in symbols]
        lengths[position] = len(symbols)
    return Chunk(list(numbers), np.array(tokens, dtype=np.uint32), lengths)


def split_lines(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lists of lines, each of half a million characters or a little more."""
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
