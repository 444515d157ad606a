"""Checkpoint folders: written whole or not at all, verified when they are read, free of pickles.

A folder is written aside, file by file, flushed to the disk, and renamed; its manifest, with the size and SHA-256 of
every file and a digest of its own, is written last. A folder without a valid manifest is no checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load as load_tensors
from torch import Tensor

from seqtrain.config.versions import VERSION_KEY, up_to_date
from seqtrain.errors import CheckpointError
from seqtrain.files import sha256, sync_file, sync_folder
from seqtrain.training.state import STATE_MIGRATIONS
from seqtrain.training.tensor_file import write_tensors

FORMAT = 1
MANIFEST = "manifest.json"
MODEL, CRITERION, OPTIMIZER = "model.safetensors", "criterion.safetensors", "optimizer.safetensors"
EMA = "ema.safetensors"
STATE, CONFIG = "state.json", "config.yaml"
_TENSOR_FILE = re.compile(r"(?P<kind>model|criterion|optimizer|ema)(-\d+-of-\d+)?\.safetensors")
_PREFIX = "update_"
TEMPORARY, _TRASH, _REPLACED = ".tmp-", ".trash-", ".replaced-"
_MAX_JSON_BYTES = 64 << 20


@dataclass(frozen=True)
class CheckpointContent:
    """What a checkpoint holds.

    Attributes:
        model: The model's parameters and buffers by name; a tied parameter once.
        criterion: The criterion's, where it is a module that has any.
        optimizer: The optimizer's tensors, by "parameter name/state key"; None for weights that no run goes on from.
        state: Everything else that must survive, as JSON values.
        config: The run's resolved config, as YAML.
        ema: The exponential moving average of the model's parameters, and its buffers, where a run keeps one.
        save_assets: Writes the task's vocabularies and tokenizer into the folder, perhaps from another thread.
        parts: Files with tensors that several processes have written aside, to be moved into the folder, and their
            SHA-256. See `seqtrain.training.sharded`.
    """

    model: Mapping[str, Tensor]
    criterion: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor] | None
    state: Mapping[str, Any]
    config: str
    save_assets: Callable[[Path], None]
    parts: Mapping[Path, str] = field(default_factory=dict)
    ema: Mapping[str, Tensor] | None = None

    @property
    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """The tensors by the file that they belong to; there is none for a criterion without any."""
        tensors = {MODEL: self.model, CRITERION: self.criterion or None, OPTIMIZER: self.optimizer, EMA: self.ema}
        return {name: content for name, content in tensors.items() if content is not None}


def checkpoint_name(num_updates: int) -> str:
    """The folder's name: update_00012000."""
    return f"{_PREFIX}{num_updates:08d}"


def updates_in_name(folder: Path) -> int:
    """The number of updates in a folder's name."""
    return int(folder.name.removeprefix(_PREFIX))


def write_checkpoint(folder: Path, content: CheckpointContent) -> None:
    """Write a checkpoint folder in one step: after a crash at any moment it is there whole, or not at all.

    Raises:
        CheckpointError: The disk is full, or the folder cannot be written; nothing is left behind.
    """
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _write_files(temporary, content)
        replaced = folder.with_name(f"{_REPLACED}{folder.name}")
        if folder.exists():  # a resumed run that had more to do at this update
            folder.rename(replaced)
        temporary.rename(folder)
        sync_folder(folder.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"{folder}: the checkpoint could not be written: {error}",
            remedy="make room on the disk and start the same command again; the last good checkpoint is untouched",
        ) from error


def _write_files(folder: Path, content: CheckpointContent) -> None:
    digests = {}
    for path, digest in content.parts.items():
        path.rename(folder / path.name)
        digests[path.name] = digest
    if not content.parts:
        digests = {name: write_tensors(folder / name, tensors) for name, tensors in content.tensors.items()}
    state = {VERSION_KEY: len(STATE_MIGRATIONS), **content.state}
    (folder / STATE).write_text(json.dumps(state, indent=1, allow_nan=False), encoding="utf-8")
    (folder / CONFIG).write_text(content.config, encoding="utf-8")
    content.save_assets(folder)
    files = {}
    for path in sorted(folder.iterdir()):
        if path.name not in digests:
            sync_file(path)
            digests[path.name] = sha256(path)
        files[path.name] = {"size": path.stat().st_size, "sha256": digests[path.name]}
    (folder / MANIFEST).write_text(_manifest_text(files), encoding="utf-8")
    sync_file(folder / MANIFEST)
    sync_folder(folder)


def _manifest_text(files: Mapping[str, Any]) -> str:
    """The one text of a manifest: any other that means the same was altered."""
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return json.dumps({"format": FORMAT, "files": files, "digest": digest}, indent=1)


class Checkpoint:
    """A checkpoint folder that was verified: every file is what its manifest says.

    Raises:
        CheckpointError: The folder is missing, is no checkpoint, or a file of it is missing, truncated or altered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        if not folder.is_dir():
            raise CheckpointError(
                f"there is no checkpoint folder {folder}", remedy="give a folder such as outputs/RUN/checkpoints/best"
            )
        if not (folder / MANIFEST).is_file():
            raise CheckpointError(
                f"{folder} is no checkpoint: it has no {MANIFEST}",
                remedy="give a folder such as outputs/RUN/checkpoints/best",
            )
        try:
            self._files = self._verified_manifest()
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be read: {error}") from error

    def _verified_manifest(self) -> dict[str, Any]:
        path = self.folder / MANIFEST
        manifest = _read_json(path)
        files = manifest.get("files") if isinstance(manifest, dict) else None
        if not isinstance(files, dict):
            raise CheckpointError(f"{path} was altered: it lists no files")
        if manifest.get("format") != FORMAT:
            raise CheckpointError(
                f"{path} is of format {manifest.get('format')}, and this version of seqtrain reads format {FORMAT}",
                remedy="use the version of seqtrain that wrote it",
            )
        if path.read_bytes() != _manifest_text(files).encode():
            raise CheckpointError(f"{path} was altered: its digest does not fit its content")
        for name, entry in files.items():
            self._verify_file(name, entry)
        return files

    def _verify_file(self, name: str, entry: Mapping[str, Any]) -> None:
        path = self.folder / name
        if Path(name).name != name or path.is_symlink():
            raise CheckpointError(f"{self.folder / MANIFEST} names a file outside of its folder: {name}")
        if not isinstance(entry, dict) or set(entry) != {"size", "sha256"}:
            raise CheckpointError(f"{self.folder / MANIFEST} is malformed: {name} has no size and sha256")
        if not path.is_file():
            raise CheckpointError(f"{path} is missing from the checkpoint")
        if path.stat().st_size != entry["size"]:
            raise CheckpointError(f"{path} is truncated: {path.stat().st_size} bytes instead of {entry['size']}")
        if sha256(path) != entry["sha256"]:
            raise CheckpointError(f"{path} was altered: its checksum is not the manifest's")

    @property
    def model(self) -> dict[str, Tensor]:
        """The model's tensors by name, on the CPU."""
        return self.read(MODEL)

    @property
    def criterion(self) -> dict[str, Tensor]:
        """The criterion's tensors by name, on the CPU; most criterions have none."""
        return self.read(CRITERION)

    @property
    def optimizer(self) -> dict[str, Tensor]:
        """The optimizer's tensors by "parameter name/state key", on the CPU."""
        return self.read(OPTIMIZER)

    @property
    def ema(self) -> dict[str, Tensor] | None:
        """The averaged weights by name, on the CPU; None where the run kept none."""
        return self.read(EMA) if self._tensor_files(EMA) else None

    @property
    def state(self) -> dict[str, Any]:
        """The counters and settings of the run at that moment, as this version has them.

        Raises:
            CheckpointError: A newer version wrote them.
        """
        path = self.folder / STATE
        content = _read_json(path)
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} holds no state of a run")
        return up_to_date(content, STATE_MIGRATIONS, label=str(path), error=CheckpointError)

    @property
    def config(self) -> str:
        """The run's resolved config, as YAML: data, never instantiated."""
        try:
            return (self.folder / CONFIG).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.folder / CONFIG} is no text: {error}") from error

    @property
    def assets(self) -> list[Path]:
        """The files of the task: vocabularies, a tokenizer."""
        own = (STATE, CONFIG)
        return [self.folder / name for name in self._files if name not in own and not _TENSOR_FILE.fullmatch(name)]

    def _tensor_files(self, name: str) -> list[Path]:
        """The files with tensors of a kind: one, or several parts."""
        found = {file: match for file in sorted(self._files) if (match := _TENSOR_FILE.fullmatch(file))}
        return [self.folder / file for file, match in found.items() if name == f"{match['kind']}.safetensors"]

    def read(self, name: str, like: Callable[[str], Tensor | None] | None = None) -> dict[str, Tensor]:
        """Tensors by name.

        Args:
            name: MODEL, CRITERION, OPTIMIZER or EMA.
            like: By name, the tensor that will take the value. Where it is sharded, so is what is returned for it, and
                only this process's part is read; everything else is whole, and on the CPU.

        Raises:
            CheckpointError: The checkpoint has none of the kind, or they cannot be read.
        """
        files = self._tensor_files(name)
        if files and (like is not None or files != [self.folder / name]):
            from seqtrain.training.sharded import read_parts

            return read_parts(files, like or (lambda _: None))
        if files:
            return _read_tensors(files[0])
        if name == CRITERION:  # most have no tensors
            return {}
        raise CheckpointError(f"{self.folder} has no {name}")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    # Read, not mapped: a mapped file that is truncated later would end the process.
    try:
        return load_tensors(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}") from error


def _read_json(path: Path) -> Any:
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise CheckpointError(f"{path} is too large to be what it should be")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from error


def find_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders in `checkpoints/`, verified or not, the newest first."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal())
    return sorted(
        (path for path in found if path.is_dir() and not path.is_symlink()), key=updates_in_name, reverse=True
    )


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint; a crash in the middle leaves nothing that looks like one."""
    trash = folder.with_name(f"{_TRASH}{folder.name}-{os.getpid()}")
    folder.rename(trash)
    shutil.rmtree(trash)


def remove_debris(folder: Path) -> None:
    """Remove what interrupted writes and removals left; only the run that holds the lock may."""
    if folder.is_dir():
        for path in folder.glob(f"{_REPLACED}*"):
            target = folder / path.name.removeprefix(_REPLACED)
            if target.exists():
                shutil.rmtree(path)
            else:  # interrupted between the two renames
                path.rename(target)
        for path in folder.iterdir():
            if path.name.startswith((TEMPORARY, _TRASH)):
                shutil.rmtree(path, ignore_errors=True)
