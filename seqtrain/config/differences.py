"""How the config of a run that goes on differs from the one that it was begun with."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from seqtrain.config.catalog import default_of
from seqtrain.config.check import to_container
from seqtrain.config.convert import shown
from seqtrain.config.key_classes import KeyClass, class_of
from seqtrain.config.registry import KINDS, registry
from seqtrain.config.root import TrainConfig
from seqtrain.config.schema import MISSING

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class SavedConfig:
    """A run's config as plain values.

    Attributes:
        resolved: With every value.
        composed: As it was composed, references to other keys kept; empty where that is not known.
    """

    resolved: Mapping[str, Any]
    composed: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One key whose value is another one.

    Attributes:
        key: The whole key.
        old: The value that the run had; None where it had no such key.
        new: The value that it is to have; None where there is no such key any more.
        key_class: What the key changes.
        follows: The key that it refers to, now as before: it is another value because that one is.
    """

    key: str
    old: Any
    new: Any
    key_class: KeyClass
    follows: str | None = None

    def __str__(self) -> str:
        """The key, the old value, the new one."""
        return f"{self.key}: {self.old_text} -> {self.new_text}"

    @property
    def old_text(self) -> str:
        """The old value as YAML writes it."""
        return _text(self.old)

    @property
    def new_text(self) -> str:
        """The new value as YAML writes it."""
        return _text(self.new)

    def is_refused(self, allowed: Collection[str]) -> bool:
        """Whether it changes the result, and is neither allowed by name or pattern nor the effect of another key."""
        is_allowed = any(fnmatch(self.key, pattern) for pattern in allowed)
        return self.key_class is KeyClass.result and self.follows is None and not is_allowed


def differences(old: SavedConfig, new: SavedConfig) -> list[Difference]:
    """The keys that differ, by name; a key that the old config lacks had the default of the schemas of the new one."""
    before = _with_defaults(old.resolved, new.resolved)
    after = flatten(new.resolved)
    composed_before, composed_after = flatten(old.composed), flatten(new.composed)
    found = []
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            reference = composed_after.get(key)
            follows = _referred_key(reference) if reference == composed_before.get(key) else None
            found.append(Difference(key, before.get(key), after.get(key), class_of(key, new.resolved), follows))
    return found


def describe(changes: Iterable[Difference]) -> str:
    """The differences as lines, under what they change."""
    changes = list(changes)
    lines = []
    for key_class in KeyClass:
        of_class = [change for change in changes if change.key_class is key_class]
        if of_class:
            lines.append(f"  changes {key_class.value}:")
            for change in of_class:
                lines.append(f"    {change}" + (f" (follows {change.follows})" if change.follows else ""))
    return "\n".join(lines)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every leaf of a config by its path: {"optimizer.lr": 0.001, ...}."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves.update(flatten(value, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _referred_key(value: Any) -> str | None:
    """The key that a composed value refers to: "${training.max_updates}" is no value of its own."""
    found = _REFERENCE.search(value) if isinstance(value, str) else None
    return found.group(1) if found else None


def _with_defaults(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of the old config, and the keys that were added since at their defaults."""
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(TrainConfig):
        name, part = field.name, new.get(field.name)
        if name not in KINDS:
            defaults[name] = to_container(default_of(field))
        elif isinstance(part, Mapping) and _is_same_plugin(old.get(name), part):
            defaults[name] = _plugin_defaults(name, part)
    before, after = flatten(old), flatten(new)
    added = {key: value for key, value in flatten(defaults).items() if key in after and key not in before}
    before.update(added)
    # A default that refers to another key is that key's value; what was saved is text, whatever it looks like.
    references = {key: referred for key, value in added.items() if (referred := _referred_key(value)) is not None}
    return {**before, **{key: before.get(referred) for key, referred in references.items()}}


def _is_same_plugin(old: Any, new: Mapping[str, Any]) -> bool:
    return isinstance(old, Mapping) and old.get("_name") == new.get("_name")


def _plugin_defaults(kind: str, part: Mapping[str, Any]) -> dict[str, Any]:
    entry = registry.find(kind, str(part.get("_name")))
    values = {} if entry is None else {field.name: default_of(field) for field in dataclasses.fields(entry.schema)}
    return {name: to_container(value) for name, value in values.items() if value != MISSING}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)
