"""A few numbers for each line of a text, never the line itself: what a quality report is made of.

A line takes some tens of bytes, so that a report on a hundred million of lines fits into the memory of one machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from seqtrain.data.chunk import split_lines
from seqtrain.data.encoding import Codec
from seqtrain.data.text import Lines, TextFile, TextStream
from seqtrain.data.tokens import IntArray, TokenTable, blocks
from seqtrain.data.vocabulary import Vocabulary

Flags = npt.NDArray[np.bool_]

REPLACEMENT = "\ufffd"
"""What a decoder writes in the place of bytes that it could not read."""
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_SPACE_OF_PIECES = "\u2581"
_BLOCK_TOKENS = 2**22
_PAIR_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit of a digest is lost


@dataclass(frozen=True)
class Marks:
    """What is known of N lines.

    Attributes:
        digests: (N,) int64, equal for equal lines. They are drawn anew in each process and are good for nothing but
            comparing; of a billion lines two different ones have the same with a probability of 3 %.
        is_empty: (N,) whether there is nothing but white space.
        has_replacement: (N,) whether the line holds U+FFFD.
        has_control: (N,) whether it holds a control character: a carriage return, U+0085, U+2028 ...; a tab is none.
    """

    digests: IntArray
    is_empty: Flags
    has_replacement: Flags
    has_control: Flags


def marks_of_text(lines: Iterable[str]) -> Marks:
    """Read lines, a chunk of them at a time.

    Raises:
        DataError: A line is no UTF-8; file and line are named.
    """
    return _join(_marks_of_chunk([line.removesuffix("\n") for line in chunk]) for chunk in split_lines(lines))


def marks_of_tokens(table: TokenTable, codec: Codec) -> Marks:
    """Read the lines of a data-bin folder, whose text is known by its symbols alone.

    Args:
        table: A sequence a line.
        codec: Its symbols.
    """
    symbols = codec.vocabulary.symbols
    kinds = [
        np.array([not _strip(symbol) for symbol in symbols]),
        np.array([REPLACEMENT in symbol for symbol in symbols]),
        np.array([_CONTROL.search(symbol.removesuffix("\n")) is not None for symbol in symbols]),
    ]
    kinds[0][: Vocabulary.unk] = True  # the symbols that begin, end and fill a line are not in it
    return _join(_marks_of_block(table, start, stop, kinds) for start, stop in blocks(table.offsets, _BLOCK_TOKENS))


def pair_digests(source: IntArray, target: IntArray) -> IntArray:
    """(N,) a digest of each pair of lines, from those of its sides."""
    mixed = source.view(np.uint64) * _PAIR_FACTOR + target.view(np.uint64)
    return mixed.view(np.int64)


def count_unknown(table: TokenTable) -> int:
    """How many tokens of a table are the unknown symbol."""
    return sum(
        int(np.count_nonzero(table.tokens[table.offsets[start] : table.offsets[stop]] == Vocabulary.unk))
        for start, stop in blocks(table.offsets, _BLOCK_TOKENS)
    )


def first_line(lines: Lines) -> int:
    """The number, counted from 1, that the first line of a split has in its file."""
    if isinstance(lines, TextFile):
        return lines.start + 1
    if isinstance(lines, TextStream) and lines.start:
        return 1 + sum(piece.endswith("\n") for piece in TextStream(lines.path, 0, lines.start))
    return 1


def _marks_of_chunk(texts: list[str]) -> Marks:
    count = len(texts)
    return Marks(
        digests=np.fromiter(map(hash, texts), np.int64, count),
        is_empty=np.fromiter((not text.strip() for text in texts), np.bool_, count),
        has_replacement=np.fromiter((REPLACEMENT in text for text in texts), np.bool_, count),
        has_control=np.fromiter((_CONTROL.search(text) is not None for text in texts), np.bool_, count),
    )


def _marks_of_block(table: TokenTable, start: int, stop: int, kinds: list[Flags]) -> Marks:
    offsets = table.offsets[start : stop + 1] - table.offsets[start]
    tokens = table.tokens[table.offsets[start] : table.offsets[stop]].astype(np.uint32)
    rows = (tokens[begin:end].tobytes() for begin, end in pairwise(offsets))
    blank, replacement, control = (_count_rows(kind[tokens], offsets) for kind in kinds)
    return Marks(
        digests=np.fromiter(map(hash, rows), np.int64, stop - start),
        is_empty=blank == np.diff(offsets),
        has_replacement=replacement > 0,
        has_control=control > 0,
    )


def _count_rows(flags: Flags, offsets: IntArray) -> IntArray:
    """(N,) how many of the tokens (num_tokens,) of each of N sequences are flagged."""
    totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(flags, dtype=np.int64)])
    counts: IntArray = totals[offsets[1:]] - totals[offsets[:-1]]
    return counts


def _strip(symbol: str) -> str:
    return symbol.strip().strip(_SPACE_OF_PIECES)


def _join(parts: Iterable[Marks]) -> Marks:
    columns = zip(
        *((part.digests, part.is_empty, part.has_replacement, part.has_control) for part in parts), strict=True
    )
    digests, *flags = (np.concatenate(column) for column in columns)
    return Marks(digests, *flags)
