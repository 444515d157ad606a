"""The symbols of a language and their numbers, kept in fairseq's `dict.txt`.

A line of the file is a symbol, a space and the symbol's count in the training text. The four special symbols are not in
the file: they have the numbers 0 to 3, and the lines follow from 4 on. A symbol may contain spaces or be one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np

from seqtrain.data.files import read_text
from seqtrain.errors import DataError
from seqtrain.files import write_text_atomically

SPECIAL_SYMBOLS: Final = ("<s>", "<pad>", "</s>", "<unk>")
_OVERWRITE = "#fairseq:overwrite"
_MAX_DIGITS = 18  # of a count; Python itself takes no more than some thousands


class Vocabulary:
    """Symbols numbered from 0.

    Attributes:
        bos: The number of the symbol that begins a sentence.
        pad: The number that fills the rows of a batch.
        eos: The number of the symbol that ends a sentence.
        unk: The number that stands for all symbols that are not in the vocabulary.
        symbols: All of them by number, the special ones included.
        counts: How often each occurs in the training text.
    """

    bos: Final = 0
    pad: Final = 1
    eos: Final = 2
    unk: Final = 3

    def __init__(self, symbols: Iterable[str], counts: Iterable[int] = ()) -> None:
        """Number the symbols from 4 on, in their order.

        Args:
            symbols: Without the special ones. A symbol that occurs again takes the later number.
            counts: One a symbol; zeros where they are left out.
        """
        self.symbols: tuple[str, ...] = (*SPECIAL_SYMBOLS, *map(str, symbols))
        given = (*repeat(0, len(SPECIAL_SYMBOLS)), *map(int, counts))
        self.counts: tuple[int, ...] = (*given, *repeat(0, len(self.symbols) - len(given)))
        self._numbers = {symbol: number for number, symbol in enumerate(self.symbols)}

    @classmethod
    def build(
        cls,
        counts: Mapping[str, int],
        *,
        threshold: int = 0,
        num_words: int | None = None,
        padding_factor: int = 8,
    ) -> Vocabulary:
        """The vocabulary of counted symbols: the most frequent first, equally frequent ones in alphabetical order.

        Args:
            counts: Occurrences of each symbol in the training text. Special symbols among them are passed over.
            threshold: Leave out what occurs less often.
            num_words: Keep at most so many, the 4 special symbols included; None keeps all.
            padding_factor: Append symbols that occur nowhere until the size is a multiple of this, which makes the
                matrix products of the output layer faster.
        """
        # two stable sorts: pairs of count and symbol would be a million objects, through which Python looks for garbage
        kept = sorted(symbol for symbol in counts if symbol not in SPECIAL_SYMBOLS)
        kept.sort(key=counts.__getitem__, reverse=True)
        if num_words is not None:
            del kept[max(0, num_words - len(SPECIAL_SYMBOLS)) :]
        numbers = [count for count in map(counts.__getitem__, kept) if count >= threshold]
        del kept[len(numbers) :]
        missing = -(len(SPECIAL_SYMBOLS) + len(kept)) % padding_factor
        kept += (f"madeupword{number:04d}" for number in range(missing))
        return cls(kept, numbers)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read a `dict.txt`.

        Raises:
            DataError: The file is missing, or a line is malformed or repeats a symbol; file and line are named.
        """
        lines: dict[str, int] = {}
        symbols: list[str] = []
        counts: list[int] = []
        for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), start=1):
            symbol, count, overwrite = _parse_line(line, f"{path}:{number}")
            if not overwrite and (symbol in lines or symbol in SPECIAL_SYMBOLS):
                first = f"first in line {lines[symbol]}" if symbol in lines else "a special symbol"
                raise DataError(
                    f"{path}:{number}: the symbol {symbol!r} is there already ({first})",
                    remedy=f"remove the line, or append {_OVERWRITE!r} to it to give the symbol this number",
                )
            lines[symbol] = number
            symbols.append(symbol)
            counts.append(count)
        return cls(symbols, counts)

    def save(self, path: Path) -> None:
        """Write a `dict.txt`, whole or not at all."""
        write_text_atomically(path, "".join(f"{line}\n" for line in self._lines()))

    def _lines(self) -> Iterator[str]:
        seen = set(SPECIAL_SYMBOLS)
        for symbol, count in zip(self.symbols[4:], self.counts[4:], strict=True):
            yield f"{symbol} {count} {_OVERWRITE}" if symbol in seen else f"{symbol} {count}"
            seen.add(symbol)

    @property
    def fingerprint(self) -> str:
        """A digest of the symbols and their order. Models can be exchanged between equal ones."""
        return hashlib.sha256("\n".join(self.symbols).encode()).hexdigest()

    def __len__(self) -> int:
        """The number of symbols, the special ones included."""
        return len(self.symbols)

    def __contains__(self, symbol: str) -> bool:
        """Whether the symbol has a number of its own."""
        return symbol in self._numbers

    def index(self, symbol: str) -> int:
        """The number of a symbol; that of the unknown symbol if it has none."""
        return self._numbers.get(symbol, self.unk)

    def symbol(self, number: int) -> str:
        """The symbol of a number."""
        return self.symbols[number]

    def text_indices(self, symbols: Sequence[str]) -> np.ndarray:
        """The numbers of symbols that stand in a text, int64.

        A text that happens to contain `<s>`, `<pad>` or `</s>` must not end a sentence or turn into padding: they
        count as unknown.
        """
        numbers = np.fromiter(map(self._numbers.get, symbols, repeat(self.unk)), np.int64, len(symbols))
        numbers[numbers < self.unk] = self.unk
        return numbers

    def encode(self, symbols: Sequence[str], *, append_eos: bool = True) -> np.ndarray:
        """The numbers of a sentence's symbols, int64, with the end symbol unless it is unwanted."""
        numbers = self.text_indices(symbols)
        return np.append(numbers, self.eos) if append_eos else numbers


def _parse_line(line: str, place: str) -> tuple[str, int, bool]:
    """One line of a `dict.txt`: symbol, count, and whether it may give a known symbol another number."""
    text = line.rstrip()
    overwrite = text.endswith(f" {_OVERWRITE}")
    symbol, space, count = text.removesuffix(f" {_OVERWRITE}").rpartition(" ")
    if not space or not symbol or not (count.isascii() and count.isdigit() and len(count) <= _MAX_DIGITS):
        raise DataError(
            f"{place}: expected a symbol, a space and its count, but found {line[:80]!r}",
            remedy="a vocabulary file has a line for each symbol, such as: house 42",
        )
    return symbol, int(count), overwrite
