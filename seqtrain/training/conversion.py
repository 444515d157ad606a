"""Checkpoints in parts to checkpoints in whole files, and back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from seqtrain.errors import CheckpointError
from seqtrain.training.checkpoint import TEMPORARY, Checkpoint, CheckpointContent, write_checkpoint
from seqtrain.training.sharded import part_name, write_parts

__all__ = ["convert"]


def convert(source: Path, target: Path, num_parts: int | None) -> None:
    """Write a checkpoint anew, with the same content.

    Args:
        source: A checkpoint folder.
        target: The folder to write.
        num_parts: Share the tensors out to so many files of each kind; None puts them together in one.

    Raises:
        CheckpointError: The source is no intact checkpoint, the target is there already, or cannot be written.
    """
    if target.exists():
        raise CheckpointError(f"{target} is there already", remedy="give a folder that is not")
    checkpoint = Checkpoint(source)
    content = _content(checkpoint)
    if num_parts is None:
        write_checkpoint(target, content)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=target.parent) as aside:
            parts = _share_out(Path(aside), content.tensors, num_parts)
            write_checkpoint(target, replace(content, model={}, criterion={}, optimizer={}, ema=None, parts=parts))
    except OSError as error:
        raise CheckpointError(f"{target}: the checkpoint could not be written: {error}") from error


def _content(checkpoint: Checkpoint) -> CheckpointContent:
    def copy_assets(folder: Path) -> None:
        for path in checkpoint.assets:
            shutil.copyfile(path, folder / path.name)

    return CheckpointContent(
        model=checkpoint.model,
        criterion=checkpoint.criterion,
        optimizer=checkpoint.optimizer,
        ema=checkpoint.ema,
        state=checkpoint.state,
        config=checkpoint.config,
        save_assets=copy_assets,
    )


def _share_out(folder: Path, files: Mapping[str, Mapping[str, Tensor]], num_parts: int) -> dict[Path, str]:
    """Write each kind of tensors in parts, as so many processes would; the files and their SHA-256."""
    digests = {}
    for name, tensors in files.items():
        for number in range(num_parts):
            parts = {label: part for label, tensor in tensors.items() if (part := _part(tensor, number, num_parts))}
            if parts:
                path = folder / part_name(name, number, num_parts)
                offsets = {label: offset for label, (_, offset) in parts.items()}
                digests[path] = write_parts(path, {label: part for label, (part, _) in parts.items()}, offsets)
    return digests


def _part(tensor: Tensor, number: int, num_parts: int) -> tuple[Tensor, list[int]] | None:
    """One of the parts along the first dimension, all but the last ones of equal size, and where it begins.

    None if nothing is left for it.
    """
    if tensor.dim() == 0:
        return (tensor, []) if number == 0 else None
    size = -(-len(tensor) // num_parts)
    begin = number * size
    part = tensor[begin : begin + size]
    return (part, [begin] + [0] * (tensor.dim() - 1)) if len(part) else None
