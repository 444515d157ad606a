"""Checkpoints of runs whose tensors lie in parts: every process writes its own, and any number of processes read them.

The files are those of torch.distributed.checkpoint's safetensors storage: the header of each says where in the whole
tensor a part begins. torch's HuggingFaceStorageReader reads them, for one process or many. Its writer is not used: it
sends pickles between the processes, and holds two copies of everything; what it writes is the same. torch's own format
is a pickle, and is neither written nor read.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from seqtrain.errors import CheckpointError
from seqtrain.training.checkpoint import TEMPORARY, CheckpointContent, checkpoint_name
from seqtrain.training.distributed import Processes
from seqtrain.training.shards import is_sharded, local_part
from seqtrain.training.tensor_file import write_tensors

if TYPE_CHECKING:
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    from seqtrain.training.keeper import CheckpointKeeper

__all__ = ["Offsets", "own_parts", "part_name", "read_parts", "save_together", "write_parts"]

T = TypeVar("T")


Offsets = dict[str, dict[str, list[int]]]
"""Where in the whole tensors the parts of one process begin: by file, then by tensor."""


def own_parts(content: CheckpointContent, processes: Processes) -> tuple[CheckpointContent, Offsets]:
    """What one process writes of a checkpoint.

    Args:
        content: Its tensors are sharded, or the same in all processes; of the latter the first process writes all.
        processes: Who writes.

    Returns:
        The content with this process's parts for tensors, in the memory that they had, and their offsets.
    """
    parts: dict[str, Any] = {}
    offsets: Offsets = {}
    for name, tensors in content.tensors.items():
        mine = {
            label: tensor
            for label, tensor in tensors.items()
            if (local_part(tensor).numel() if is_sharded(tensor) else processes.is_first)
        }
        parts[Path(name).stem] = {label: local_part(tensor) for label, tensor in mine.items()}
        offsets[name] = {label: _offsets(tensor) for label, tensor in mine.items()}
    return replace(content, **parts), offsets


def save_together(
    keeper: CheckpointKeeper, content: CheckpointContent, offsets: Offsets, *, num_updates: int, processes: Processes
) -> Path:
    """Write a checkpoint, each process its parts of the tensors.

    Args:
        keeper: Of the run; the first process's is used.
        content: Of this process, from `own_parts`. The files that are not tensors are the first process's.
        offsets: Of its parts.
        num_updates: Of the run.
        processes: All of them call this; in a thread, over connections of its own.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: In all processes, if one of them could not write; nothing is left behind.
    """
    aside = keeper.folder / f"{TEMPORARY}{checkpoint_name(num_updates)}-parts"

    def write() -> dict[str, str]:
        digests = {}
        for name, tensors in content.tensors.items():
            if tensors:
                path = aside / part_name(name, processes.rank, processes.world_size)
                digests[path.name] = write_parts(path, tensors, offsets[name])
        return digests

    def commit() -> str:
        parts = {aside / name: digest for share in shares for name, digest in share.items()}
        written = replace(content, model={}, criterion={}, optimizer={}, ema=None, parts=parts)
        return str(keeper.save(written, num_updates))

    try:
        _together(processes, lambda: _make_empty(aside) if processes.is_first else None)
        shares = _together(processes, write)
        folder, *_ = _together(processes, lambda: commit() if processes.is_first else None)
    finally:
        if processes.is_first:
            shutil.rmtree(aside, ignore_errors=True)
    return Path(str(folder))


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _together(processes: Processes, function: Callable[[], T]) -> list[T]:
    """Call a function in every process; what each returned, which must be JSON.

    Raises:
        CheckpointError: It failed in one of them, and so in all.
    """
    result, failure = None, None
    try:
        result = function()
    except CheckpointError as error:
        failure = str(error)
    except OSError as error:
        failure = f"the checkpoint could not be written: {error}"
    answers = processes.gather([result, failure])
    for rank, (_, message) in enumerate(answers):
        if message is not None:
            raise CheckpointError(
                f"process {rank}: {message}",
                remedy="make room on the disk and start the same command again; the last good checkpoint is untouched",
            )
    return [value for value, _ in answers]


def part_name(name: str, number: int, count: int) -> str:
    """The name of the file with one part of what else is in one file: model-00001-of-00004.safetensors."""
    stem, _, suffix = name.partition(".")
    return f"{stem}-{number + 1:05d}-of-{count:05d}.{suffix}"


def write_parts(path: Path, parts: Mapping[str, Tensor], offsets: Mapping[str, list[int]]) -> str:
    """Write parts of tensors, and where in the whole ones they begin; the file's SHA-256."""
    info = {name: {"saved_offsets": offsets[name]} for name in parts}
    return write_tensors(path, parts, metadata={"DCP_SHARDING_INFO": json.dumps(info)})


def _offsets(tensor: Tensor) -> list[int]:
    """Where this process's part begins in the whole."""
    if not is_sharded(tensor):
        return [0] * tensor.dim()
    sharded: Any = tensor
    (chunk,) = sharded.__create_chunk_list__()  # how torch.distributed.checkpoint asks
    return list(chunk.offsets)


def read_parts(files: Sequence[Path], like: Callable[[str], Tensor | None]) -> dict[str, Tensor]:
    """Put the tensors of a checkpoint together.

    Args:
        files: One that holds whole tensors, or those of all processes of a run. Nothing else is read.
        like: By name, the tensor that will take the value. Where that is sharded, so is the result, and only this
            process's part is read; else the result is whole, and on the CPU.

    Raises:
        CheckpointError: A file is no safetensors file, or a part is missing.
    """
    from safetensors import SafetensorError
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystem
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    class TheseFiles(FileSystem):
        def ls(self, path: Any) -> list[str]:
            return [str(file) for file in files]

    reader: Any = HuggingFaceStorageReader(str(files[0].parent))
    reader.fs = TheseFiles()
    try:
        entries: dict[str, TensorStorageMetadata] = reader.read_metadata().state_dict_metadata
        tensors = {name: _room(name, entry, like(name)) for name, entry in entries.items()}
        with warnings.catch_warnings():  # each process reads alone: there is nothing to tell the others
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
            load(dict(tensors), storage_reader=reader, no_dist=True)
    except (SafetensorError, CheckpointException, ValueError, KeyError, TypeError) as error:
        message = str(error).strip().splitlines()[-1]
        raise CheckpointError(f"{files[0].parent}: its tensors cannot be read: {message}") from error
    return tensors


def _room(name: str, entry: TensorStorageMetadata, like: Tensor | None) -> Tensor:
    """An empty tensor for what a checkpoint holds, once it is clear that it holds all of it."""
    ends = 0
    for chunk in sorted(entry.chunks, key=lambda chunk: chunk.offsets[:1]):
        rest = tuple(chunk.offsets[1:]), tuple(chunk.sizes[1:])
        if list(chunk.offsets[:1]) not in ([], [ends]) or rest != ((0,) * (len(entry.size) - 1), tuple(entry.size[1:])):
            raise CheckpointError(f"the checkpoint lacks a part of {name}, or has one twice")
        ends += chunk.sizes[0] if chunk.sizes else 0
    dtype = entry.properties.dtype
    if like is not None and is_sharded(like) and like.shape == entry.size:
        return torch.empty_like(like, dtype=dtype, requires_grad=False)
    return torch.empty(entry.size, dtype=dtype)
