"""The report on data as tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from seqtrain.console import print_table
from seqtrain.verification.data import DataReport
from seqtrain.verification.examples import Example
from seqtrain.verification.figures import SideFigures

_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SHOWN_CHARACTERS = 80
_NUMBERS = range(2, 12)
_PADDED = ("source", "target")


def print_report(report: DataReport) -> None:
    """Write all tables to stdout; a table without rows is left out."""
    for title, rows, right in _tables(report):
        if len(rows) > 1:
            print_table(title, rows, right=right)


def _tables(report: DataReport) -> Iterator[tuple[str, Sequence[Sequence[str]], range]]:
    codecs = [
        f"{name or 'text'}: {report.tokenizers[name]}, {_count(size)} symbols"
        for name, size in report.vocabularies.items()
    ]
    yield f"{report.data} ({report.form}; {'; '.join(codecs)})", _sizes(report), _NUMBERS
    yield "Lines that may be faults", _faults(report), _NUMBERS
    yield "Pairs", _pairs(report), range(1, 12)
    yield "Lines and pairs that are in train as well", _overlaps(report), _NUMBERS
    yield "Batches of one process", _batches(report), range(1, 5)
    yield "Left out of the batches", _filtered(report), range(1, 2)
    yield "Lines to look at", _examples(report), range(2, 3)


def _sides(report: DataReport) -> Iterator[tuple[list[str], SideFigures]]:
    for split in report.splits:
        for side in split.sides:
            yield [split.name, side.language or "text"], side


def _sizes(report: DataReport) -> list[list[str]]:
    header = ["split", "side", "lines", "tokens", "unknown", "mean length", "median", "95 %", "99 %", "longest"]
    rows = [
        [
            *labels,
            _count(side.num_lines),
            _count(side.num_tokens),
            _share(side.num_unknown, side.num_tokens),
            f"{side.mean_length:.1f}",
            *map(_count, (side.median_length, side.length_95, side.length_99, side.max_length)),
        ]
        for labels, side in _sides(report)
    ]
    return [header, *rows]


def _faults(report: DataReport) -> list[list[str]]:
    header = ["split", "side", "empty", "duplicates", "U+FFFD", "control characters"]
    rows = [
        [
            *labels,
            _count(side.num_empty),
            _share(side.num_duplicates, side.num_lines),
            _count(side.num_replacement),
            _count(side.num_control),
        ]
        for labels, side in _sides(report)
    ]
    return [header, *rows]


def _pairs(report: DataReport) -> list[list[str]]:
    header = ["split", "pairs", "duplicates", "source = target", "median length ratio", "uneven"]
    rows = [
        [
            split.name,
            _count(split.sides[0].num_lines),
            _share(split.pairs.num_duplicates, split.sides[0].num_lines),
            _count(split.pairs.num_copies),
            f"{split.pairs.median_ratio:.2f}",
            _count(split.pairs.num_uneven),
        ]
        for split in report.splits
        if split.pairs is not None
    ]
    return [header, *rows]


def _overlaps(report: DataReport) -> list[list[str]]:
    rows: list[list[str]] = []
    for split in report.splits:
        if split.overlap is None:
            continue
        counts = {language or "text": count for language, count in split.overlap.lines.items()}
        if split.overlap.pairs is not None:
            counts["pairs"] = split.overlap.pairs
        total = split.sides[0].num_lines
        rows += [[split.name, name, _count(count), _percent(count / total)] for name, count in counts.items()]
    return [["split", "side", "in train", "share"], *rows]


def _batches(report: DataReport) -> list[list[str]]:
    rows = [
        [
            split.name,
            _count(split.batches.num_examples),
            _count(split.batches.num_batches),
            *(_percent(split.batches.padding[side]) if side in split.batches.padding else "-" for side in _PADDED),
        ]
        for split in report.splits
    ]
    return [["split", "examples", "batches", *(f"padding of the {side}s" for side in _PADDED)], *rows]


def _filtered(report: DataReport) -> list[list[str]]:
    rows = [
        [split.name, _count(count), reason]
        for split in report.splits
        for reason, count in split.batches.filtered.items()
    ]
    return [["split", "examples", "reason"], *rows]


def _examples(report: DataReport) -> list[list[str]]:
    rows = [
        [split.name, _side(one), str(one.line), one.what, "  |  ".join(map(_visible, one.texts))]
        for split in report.splits
        for one in split.examples
    ]
    return [["split", "side", "line", "what", "text"], *rows]


def _side(example: Example) -> str:
    return "both" if len(example.texts) > 1 else example.language or "text"


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _share(part: int, total: int) -> str:
    return f"{part:,} ({_percent(part / total)})" if part else "0"


def _visible(text: str) -> str:
    """The beginning of a text, its control characters written as escapes, so that they do nothing to a terminal."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return _INVISIBLE.sub(lambda match: match.group().encode("unicode_escape").decode(), shown)
