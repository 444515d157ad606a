"""Two runs that should be the same: what is equal, and where they first differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

from seqtrain.config.check import from_yaml
from seqtrain.config.differences import flatten
from seqtrain.training.checkpoint import CONFIG, MANIFEST, STATE

_TENSORS = ".safetensors"
_CLOCKS = ("seconds", "per_second", "mfu")
"""How the names of values end that two equal runs do not share."""


@dataclass(frozen=True)
class Finding:
    """What comparing one thing gave.

    Attributes:
        where: The moment: "update 20".
        what: What was compared.
        is_equal: Whether it is the same in both.
        detail: How much was compared, or where the first difference is.
    """

    where: str
    what: str
    is_equal: bool
    detail: str


def compare_checkpoints(first: Path, second: Path, where: str) -> Iterator[Finding]:
    """Compare all that two checkpoint folders hold: tensors, counters and settings, and the other files."""
    absent = [name for name, folder in (("first", first), ("second", second)) if not folder.is_dir()]
    if absent:
        verb = "have" if len(absent) > 1 else "has"
        yield Finding(where, "checkpoint", False, f"the {' and the '.join(absent)} run {verb} none")
        return
    others: list[str] = []
    for name in _names(first, second):
        paths = first / name, second / name
        if not all(path.is_file() for path in paths):
            missing = "first" if paths[1].is_file() else "second"
            yield Finding(where, name, False, f"the {missing} run has none")
        elif name.endswith(_TENSORS):
            tensors = [load_tensors(path.read_bytes()) for path in paths]
            yield Finding(where, name, *compare_tensors(tensors[0], tensors[1]))
        elif name == STATE:
            states = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
            yield from compare_states(states[0], states[1], where=where)
        elif name == CONFIG:
            settings = [flatten(from_yaml(path)) for path in paths]
            yield Finding(where, name, *_compare_values(settings[0], settings[1]))
        elif paths[0].read_bytes() != paths[1].read_bytes():
            yield Finding(where, name, False, "other bytes")
        else:
            others.append(name)
    yield Finding(where, "vocabularies", True, _counted(len(others), "file"))


def compare_tensors(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> tuple[bool, str]:
    """Whether tensors are the same to the bit, and how many there are or which one differs first."""
    names = sorted({*first, *second})
    different = [name for name in names if not _same(first.get(name), second.get(name))]
    if not different:
        return True, _counted(len(names), "tensor")
    name = different[0]
    difference = _describe(first.get(name), second.get(name))
    return False, f"{len(different)} of {_counted(len(names), 'tensor')}, first {name}{difference}"


def compare_states(first: Mapping[str, Any], second: Mapping[str, Any], *, where: str) -> Iterator[Finding]:
    """Compare counters and settings part by part; what a clock told is left out."""
    for part in sorted({*first, *second}):
        mine, theirs = (_without_clocks(flatten({part: state.get(part)})) for state in (first, second))
        yield Finding(where, f"{STATE}: {part}", *_compare_values(mine, theirs))


def compare_rows(first: Path, second: Path, what: str) -> Finding:
    """Compare two files of JSON rows that name updates: metrics, batches. What a clock told is left out."""
    rows = [_read_rows(path) for path in (first, second)]
    for mine, theirs in zip(*rows, strict=False):
        values = _without_clocks(mine), _without_clocks(theirs)
        if values[0] != values[1]:
            return Finding(f"update {mine.get('update')}", what, False, f"first here: {_compare_values(*values)[1]}")
    if len(rows[0]) != len(rows[1]):
        longer = max(rows, key=len)
        update = longer[min(map(len, rows))].get("update")
        return Finding(f"update {update}", what, False, f"{len(rows[0])} rows and {len(rows[1])}, first odd one here")
    last = rows[0][-1].get("update") if rows[0] else 0
    return Finding(f"update 1 to {last}", what, True, _counted(len(rows[0]), "row"))


def _names(*folders: Path) -> list[str]:
    """The files of checkpoint folders, sorted; their manifests are no content of their own."""
    paths = (path.relative_to(folder) for folder in folders for path in folder.rglob("*") if path.is_file())
    return sorted({str(path) for path in paths if path.name != MANIFEST})


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    if first is None or second is None or first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.equal(_bits(first), _bits(second))


def _bits(tensor: Tensor) -> Tensor:
    """As bytes, in which a NaN equals itself and zero is not minus zero."""
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _describe(first: Tensor | None, second: Tensor | None) -> str:
    if first is None or second is None:
        return f", which the {'first' if first is None else 'second'} run does not have"
    if first.dtype != second.dtype or first.shape != second.shape:
        return f": {tuple(first.shape)} {first.dtype} and {tuple(second.shape)} {second.dtype}"
    difference = (first.double() - second.double()).abs().max().item()
    return f": by up to {difference:.3g}"


def _compare_values(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[bool, str]:
    for key in [*first, *(key for key in second if key not in first)]:
        mine, theirs = first.get(key), second.get(key)
        if key not in first or key not in second or mine != theirs:
            return False, f"{key} is {_shown(mine)} and {_shown(theirs)}"
    return True, _counted(len(first), "value")


def _without_clocks(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.endswith(_CLOCKS)}


def _read_rows(path: Path) -> list[dict[str, Any]]:
    lines: Iterable[str] = path.read_text(encoding="utf-8").splitlines() if path.is_file() else ()
    return [json.loads(line) for line in lines]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
