"""Lines that a person should look at: which they are, where they stand, and what they say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seqtrain.data.encoding import Codec
from seqtrain.data.text import Lines
from seqtrain.data.tokens import IntArray, TokenTable
from seqtrain.verification import figures
from seqtrain.verification.lines import Flags, Marks

_MAX_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Example:
    """A line, or a pair of lines, that a person should look at.

    Attributes:
        what: Why.
        language: Of the line; "" for a pair, and for a text in one language.
        line: Its number, counted from 1: in the file of the text, or among the sequences of a data-bin folder.
        texts: The line, or both of a pair; of long ones the beginning.
    """

    what: str
    language: str
    line: int
    texts: list[str]


@dataclass(frozen=True)
class Found:
    """A line that was found, before its text is read.

    Attributes:
        what: Why it should be looked at.
        number: Of the line in its split, from 0.
        sides: The languages, by number, whose text is to be shown.
    """

    what: str
    number: int
    sides: tuple[int, ...]


@dataclass(frozen=True)
class Limits:
    """How much is shown.

    Attributes:
        num_shown: Examples of each kind, split and language, at most.
        max_ratio: A pair is uneven if one side is more than so many times as long as the other.
    """

    num_shown: int
    max_ratio: float


def find_lines(marks: Marks, lengths: IntArray, side: int, limits: Limits) -> Iterator[Found]:
    """The longest lines of one language, and those that should not be there.

    Args:
        marks: Of its N lines.
        lengths: (N,) tokens, the end symbol included.
        side: The number of the language.
        limits: How many to show.
    """
    for number in _largest(lengths, limits.num_shown):
        yield Found(f"longest: {lengths[number]} tokens", number, (side,))
    for what, flags in (
        ("empty", marks.is_empty),
        ("U+FFFD", marks.has_replacement),
        ("control character", marks.has_control),
    ):
        yield from _first(what, flags, (side,), limits.num_shown)


def find_pairs(marks: Sequence[Marks], lengths: Sequence[IntArray], limits: Limits) -> Iterator[Found]:
    """The most uneven pairs, and those whose source is their target.

    Args:
        marks: Of the sources and the targets.
        lengths: Likewise, (N,) tokens each.
        limits: How many to show, and what is uneven.
    """
    unevenness = figures.unevenness(*lengths)
    for number in _largest(unevenness, limits.num_shown):
        if unevenness[number] > limits.max_ratio:
            sizes = " and ".join(str(side[number]) for side in lengths)
            yield Found(f"uneven: {sizes} tokens", number, (0, 1))
    yield from _first("source = target", figures.copies(*marks), (0, 1), limits.num_shown)


def find_known(flags: Flags, sides: tuple[int, ...], limits: Limits) -> Iterator[Found]:
    """Lines of one language, or pairs, (N,), that are in train."""
    yield from _first("in train", flags, sides, limits.num_shown)


def texts_of_lines(lines: Lines, numbers: Collection[int]) -> dict[int, str]:
    """The text of some lines, by number, in one pass over them."""
    last = max(numbers, default=-1)
    found: dict[int, str] = {}
    for number, line in enumerate(lines):
        if number > last:
            break
        if number in numbers:
            found[number] = _shorten(line.removesuffix("\n"))
    return found


def texts_of_tokens(table: TokenTable, codec: Codec, numbers: Collection[int]) -> dict[int, str]:
    """The text that some sequences stand for, by number."""
    return {number: _shorten(codec.decode(table[number])) for number in numbers}


def _largest(values: np.ndarray, count: int) -> list[int]:
    """The numbers of the largest values, the largest first, of equals the first."""
    if count == 0:
        return []
    smallest = np.partition(values, -min(count, len(values)))[-min(count, len(values))]
    candidates = np.flatnonzero(values >= smallest)
    order = np.argsort(-values[candidates], kind="stable")
    numbers: list[int] = candidates[order[:count]].tolist()
    return numbers


def _first(what: str, flags: Flags, sides: tuple[int, ...], count: int) -> Iterator[Found]:
    for number in np.flatnonzero(flags)[:count].tolist():
        yield Found(what, number, sides)


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."
