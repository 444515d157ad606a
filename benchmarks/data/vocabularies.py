"""Vocabularies of many sizes, against what Python takes to sort as many strings and to number them in a dict.

The smallest ones lie in the processor's caches, the largest ones do not: a step to a new string is then a step to main
memory, for Python's own sort and dict as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from seqtrain.data.vocabulary import Vocabulary

SIZES = (1_000, 10_000, 100_000, 1_000_000)
_SYMBOLS_A_PIECE = 1_000_000  # small vocabularies are made so often that the clock and chance do not count


@dataclass(frozen=True)
class VocabularyTimes:
    """Processor seconds of each step.

    Attributes:
        size: Symbols.
        build: From counts to a vocabulary.
        plain: Sorting the same strings by their counts, and a dict of their numbers.
        save: To a file.
        load: From the file.
    """

    size: int
    build: float
    plain: float
    save: float
    load: float


def measure_vocabularies(folder: Path) -> list[VocabularyTimes]:
    """All sizes."""
    return [_measure(folder / "dict.txt", size) for size in SIZES]


def vocabulary_table(found: list[VocabularyTimes]) -> str:
    """Microseconds a symbol."""
    lines = [
        "| symbols | build, ms | build, µs a symbol | a sort and a dict, µs a symbol | save, µs a symbol "
        "| load, µs a symbol |",
        "|---|---|---|---|---|---|",
    ]
    for times in found:
        steps = (times.build, times.plain, times.save, times.load)
        cells = " | ".join(f"{seconds / times.size * 1e6:.2f}" for seconds in steps)
        lines.append(f"| {times.size:,} | {times.build * 1e3:,.1f} | {cells} |")
    return "\n".join(lines)


def record(found: list[VocabularyTimes]) -> list[dict[str, float]]:
    """For a JSON file."""
    return [asdict(times) for times in found]


def _measure(path: Path, size: int) -> VocabularyTimes:
    counts = {f"symbol{number * 7919 % size}": size - number for number in range(size)}
    vocabulary = Vocabulary.build(counts)
    return VocabularyTimes(
        size=size,
        build=_seconds(lambda: Vocabulary.build(counts), size),
        plain=_seconds(lambda: _numbered(counts), size),
        save=_seconds(lambda: vocabulary.save(path), size),
        load=_seconds(lambda: Vocabulary.load(path), size),
    )


def _numbered(counts: dict[str, int]) -> dict[str, int]:
    symbols = sorted(counts)
    symbols.sort(key=counts.__getitem__, reverse=True)
    return {symbol: number for number, symbol in enumerate(symbols)}


def _seconds(work: Callable[[], object], size: int) -> float:
    repeats = max(1, _SYMBOLS_A_PIECE // size)
    start = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - start) / repeats
