"""What every config dataclass of seqtrain has in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from omegaconf import II, MISSING

__all__ = ["II", "MISSING", "PluginConfig", "Problem", "Section"]


@dataclass(frozen=True)
class Problem:
    """One fault of a config value.

    Attributes:
        key: The field, relative to the schema that reports it (`dropout`); in a root, the whole path (`optimizer.lr`).
        text: What is wrong with the value and what would be right: "must be in [0, 1), but is 1.5".
    """

    key: str
    text: str


@dataclass(kw_only=True)
class Section:
    """A part of a config. Every field of a section has a type, a default or MISSING, and a docstring."""

    def problems(self) -> Iterator[Problem]:
        """Yield each fault of the values; all faults of a config are shown at once, before anything is built."""
        yield from ()


@dataclass(kw_only=True)
class PluginConfig(Section):
    """The base of every plug-in's schema."""

    _name: str = MISSING
    """The name under which the plug-in is registered; set by its decorator."""
