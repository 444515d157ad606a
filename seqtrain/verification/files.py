"""The files of a checkpoint folder, one by one: `Checkpoint` stops at the first that is damaged, a report does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import safe_open

from seqtrain.files import sha256
from seqtrain.training.checkpoint import MANIFEST


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What there is to say of one file.

    Attributes:
        name: Relative to the folder.
        num_bytes: On the disk; 0 if it is missing.
        num_tensors: In a safetensors file.
        num_values: All numbers of its tensors.
        num_not_finite: Those that are NaN or infinite.
        problem: What is wrong with it; None if nothing is.
    """

    name: str
    num_bytes: int
    num_tensors: int | None = None
    num_values: int | None = None
    num_not_finite: int | None = None
    problem: str | None = None


def inspect_files(folder: Path) -> list[FileReport]:
    """Look at all files of a checkpoint folder, and at those that its manifest names and that are missing."""
    listed = _listed(folder)
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST}
    return [_inspect(folder, name, listed) for name in sorted({*listed, *there})]


def _inspect(folder: Path, name: str, listed: Mapping[str, Any]) -> FileReport:
    path = folder / name
    if not path.is_file():
        return FileReport(name=name, num_bytes=0, problem="missing")
    size = path.stat().st_size
    problem = _difference(path, size, listed[name]) if name in listed else "not in the manifest"
    if path.suffix != ".safetensors":
        return FileReport(name=name, num_bytes=size, problem=problem)
    try:
        num_tensors, num_values, num_not_finite = _count_values(path)
    except (safetensors.SafetensorError, OSError) as error:
        return FileReport(name=name, num_bytes=size, problem=problem or f"cannot be read: {error}")
    if problem is None and num_not_finite:
        problem = "has values that are no finite numbers"
    return FileReport(
        name=name,
        num_bytes=size,
        num_tensors=num_tensors,
        num_values=num_values,
        num_not_finite=num_not_finite,
        problem=problem,
    )


def _difference(path: Path, size: int, entry: Any) -> str | None:
    """How a file differs from what its manifest says."""
    if not isinstance(entry, dict):
        return "malformed in the manifest"
    if size != entry.get("size"):
        return f"{entry.get('size')} bytes were written"
    return None if sha256(path) == entry.get("sha256") else "altered: another checksum"


def _count_values(path: Path) -> tuple[int, int, int]:
    """The tensors of a file, their numbers, and those that are not finite; one tensor is in memory at a time."""
    num_values, num_not_finite = 0, 0
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        for name in names:
            tensor = file.get_tensor(name)
            num_values += tensor.numel()
            num_not_finite += tensor.numel() - int(torch.isfinite(tensor).sum())
    return len(names), num_values, num_not_finite


def _listed(folder: Path) -> dict[str, Any]:
    """What the manifest says of each file; nothing if there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # `Checkpoint` says what is wrong with it
    files = manifest.get("files") if isinstance(manifest, dict) else None
    return files if isinstance(files, dict) else {}
