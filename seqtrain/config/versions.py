"""Versions of what a run saves: older ones are brought up to date when they are read, newer ones are refused.

A saved config begins with `version: N`. One without it stands for version 0: what seqtrain wrote before. A key that was
added with a default needs no new version. One that was renamed, removed or given another meaning does, and so does a
default that was changed: raise the version by a migration at the end of the list, which says why it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqtrain.config.check import from_yaml
from seqtrain.errors import ConfigError, SeqtrainError

VERSION_KEY = "version"


@dataclass(frozen=True)
class Migration:
    """The step from one version to the next.

    Attributes:
        reason: What became different.
        migrate: Takes the plain values of the older version, without their version, and gives those of the next.
    """

    reason: str
    migrate: Callable[[dict[str, Any]], dict[str, Any]]


CONFIG_MIGRATIONS: Sequence[Migration] = (Migration("saved configs carry a version", dict),)
"""From version 0 to 1, from 1 to 2, and so on."""


def saved_config(source: str | Path, label: str | None = None) -> dict[str, Any]:
    """The plain values of a config that a run saved, as today's schemas want them.

    Args:
        source: YAML text, or the file if a Path is given.
        label: What to call a text in messages.

    Raises:
        ConfigError: It is no YAML, or of a version that this seqtrain does not know.
    """
    name = label or (str(source) if isinstance(source, Path) else "the YAML text")
    return up_to_date(from_yaml(source), CONFIG_MIGRATIONS, label=name, error=ConfigError)


def with_version(yaml: str) -> str:
    """The YAML of a config with its version before it, to be saved."""
    return f"{VERSION_KEY}: {len(CONFIG_MIGRATIONS)}\n{yaml}"


def up_to_date(
    saved: Mapping[str, Any],
    migrations: Sequence[Migration],
    *,
    label: str,
    error: type[SeqtrainError],
) -> dict[str, Any]:
    """What was saved, after the migrations that it has not seen yet, without its version.

    Args:
        saved: Plain values, with their version or, if they are of version 0, without.
        migrations: One for each version but the newest.
        label: The file, for messages.
        error: What to raise.

    Raises:
        error: The version is none, or newer than the newest that the migrations lead to.
    """
    values = dict(saved)
    version = values.pop(VERSION_KEY, 0)
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise error(f"{label}: {VERSION_KEY} must be a whole number, but is {version!r}")
    if version > len(migrations):
        raise error(
            f"{label} is of version {version}, and this seqtrain reads versions up to {len(migrations)}",
            remedy="use the version of seqtrain that wrote it, or a newer one",
        )
    for migration in migrations[version:]:
        values = migration.migrate(values)
    return values
