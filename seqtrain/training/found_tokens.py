"""The max_tokens that a run found for itself, in the config that it saved: a run that goes on does not search again.

This module imports no torch.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from seqtrain.config.check import from_yaml, to_yaml
from seqtrain.config.root import TrainConfig
from seqtrain.files import write_text_atomically
from seqtrain.training.changes import COMPOSED, RESOLVED, read_config
from seqtrain.training.run_folder import CHECKPOINTS, RunConfig

__all__ = ["record_max_tokens", "with_known_max_tokens", "with_max_tokens"]


def with_max_tokens(config: TrainConfig, max_tokens: int) -> TrainConfig:
    """A config that has a number instead of a search."""
    return replace(config, batching=replace(config.batching, max_tokens=max_tokens, find_max_tokens=False))


def with_known_max_tokens(config: TrainConfig, written: RunConfig, folder: Path) -> tuple[TrainConfig, RunConfig]:
    """A config that asks for a search, with the number of the run that it goes on with, if there is one.

    Args:
        config: Of this start.
        written: The same, as it is written down.
        folder: The run folder.
    """
    if not config.batching.find_max_tokens or not (folder / RESOLVED).exists() or not (folder / CHECKPOINTS).is_dir():
        return config, written
    max_tokens = read_config(folder).resolved["batching"]["max_tokens"]
    if max_tokens is None:
        return config, written
    composed = _changed(from_yaml(written.composed), max_tokens)
    known = RunConfig(
        composed=composed,
        resolved=_changed(from_yaml(written.resolved), max_tokens),
        hydra_files={**written.hydra_files, COMPOSED.name: composed},
    )
    return with_max_tokens(config, max_tokens), known


def record_max_tokens(folder: Path, max_tokens: int) -> None:
    """Write the number that was found into the config that the run has saved, for --rerun and for going on."""
    for path in (folder / RESOLVED, folder / COMPOSED):
        write_text_atomically(path, _changed(from_yaml(path), max_tokens))


def _changed(values: dict[str, Any], max_tokens: int) -> str:
    values["batching"] = {**values["batching"], "max_tokens": max_tokens, "find_max_tokens": False}
    return to_yaml(values)
