"""The config of a run that goes on, compared with the one that it was begun with.

This module imports no torch: a config that does not fit is refused at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seqtrain.config.check import from_yaml
from seqtrain.config.differences import Difference, SavedConfig, describe, differences, flatten
from seqtrain.config.registry import suggest
from seqtrain.config.versions import saved_config
from seqtrain.errors import ConfigError, RunFolderError

CHANGES = "changes.jsonl"
RESOLVED = "config.resolved.yaml"
COMPOSED = Path(".hydra") / "config.yaml"


def read_config(folder: Path) -> SavedConfig:
    """The config of the run in a folder.

    Raises:
        ConfigError: It is no YAML, or of a newer version.
        OSError: It cannot be read.
    """
    composed = folder / COMPOSED
    return SavedConfig(saved_config(folder / RESOLVED), saved_config(composed) if composed.exists() else {})


def require_known_keys(allowed: Collection[str], config: SavedConfig) -> None:
    """Refuse a key of --allow-changes that no key of the config is called.

    Raises:
        ConfigError: There is one.
    """
    keys = flatten(config.resolved)
    for pattern in allowed:
        if not any(fnmatch(key, pattern) for key in keys):
            raise ConfigError(f"--allow-changes={pattern}: the config has no such key", remedy=suggest(pattern, keys))


def require_same_results(folder: Path, changes: Sequence[Difference], allowed: Collection[str]) -> None:
    """Refuse changes of keys that change results, but for those that are allowed.

    Raises:
        RunFolderError: There are some; all changes are shown.
    """
    refused = [change.key for change in changes if change.is_refused(allowed)]
    if refused:
        raise RunFolderError(
            f"{folder} has a run of another config, which would go on to other results:\n{describe(changes)}",
            remedy="start in another folder (hydra.run.dir=FOLDER or run_name=NAME), give the same values, "
            f"or allow it: --allow-changes={','.join(refused)}",
        )


def record_changes(folder: Path, changes: Sequence[Difference], num_updates: int) -> None:
    """Append to the run's changes.jsonl what is changed from the newest checkpoint on.

    Args:
        folder: The run folder.
        changes: All of them, whatever they change.
        num_updates: Those of the newest checkpoint.
    """
    rows = [
        {"key": change.key, "old": change.old, "new": change.new, "class": change.key_class.name} for change in changes
    ]
    line = {"update": num_updates, "time": datetime.now(UTC).isoformat(timespec="seconds"), "changes": rows}
    with (folder / CHANGES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def changes_since(checkpoint: str, config: str) -> list[Difference]:
    """How a config differs from that of a checkpoint.

    Args:
        checkpoint: The checkpoint's config.yaml.
        config: The config of now, as YAML.
    """
    label = "the checkpoint's config.yaml"
    return differences(SavedConfig(saved_config(checkpoint, label)), SavedConfig(from_yaml(config)))


def changes_batches(change: Difference) -> bool:
    """Whether another value makes other batches of an epoch: the saved position in it means nothing any more."""
    section = change.key.partition(".")[0]
    return change.is_refused(()) and (section in ("batching", "task") or change.key == "training.seed")


def take_over_optimizer_settings(
    groups: Sequence[dict[str, Any]], fresh: Sequence[Mapping[str, Any]], changes: Sequence[Difference]
) -> None:
    """Let the config's settings of the optimizer count where they are changed, and not those of the checkpoint.

    Args:
        groups: The optimizer's parameter groups, after the checkpoint was loaded; changed in place.
        fresh: The same groups as the config made them.
        changes: Of the config since the checkpoint.
    """
    names = {change.key.removeprefix("optimizer.") for change in changes if change.key.startswith("optimizer.")}
    for group, made in zip(groups, fresh, strict=True):
        group.update({name: made[name] for name in names & made.keys()})
