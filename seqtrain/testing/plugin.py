"""What the contract suites of the five kinds have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any, ClassVar

from seqtrain.config import Section, registry
from seqtrain.config.check import to_container, typed
from seqtrain.config.registry import Entry
from seqtrain.config.root import TrainingConfig


class PluginContract:
    """A suite of tests for one registered plug-in.

    Attributes:
        kind: The kind of plug-in; set by the suite.
        name: The plug-in's `_name`; set by who derives from the suite.
        overrides: Settings that differ from the schema's defaults.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    overrides: ClassVar[Mapping[str, Any]] = {}

    def entry(self) -> Entry:
        """The plug-in's registration; its file is imported if it was not."""
        return registry.require(self.kind, self.name)

    def settings(self, folder: Path | None = None) -> dict[str, Any]:
        """What is said of the plug-in: the overrides.

        Args:
            folder: Where a task may read and write.
        """
        return dict(self.overrides)

    def config(self, folder: Path | None = None) -> Any:
        """The plug-in's settings, checked: its defaults and what is said, in a config with `training` beside them."""
        root = make_dataclass("Root", [(self.kind, Any), ("training", TrainingConfig)], bases=(Section,), kw_only=True)
        training = to_container(TrainingConfig(max_updates=1_000))
        config: Any = typed(root, {self.kind: {"_name": self.name, **self.settings(folder)}, "training": training})
        return getattr(config, self.kind)

    def build(self, *arguments: Any) -> Any:
        """The plug-in itself.

        Args:
            *arguments: What its kind is built with beside the config.
        """
        return self.entry().load()(self.config(), *arguments)

    def test_its_settings_have_no_problems(self) -> None:
        """The values that the suite builds it with pass the schema's own checks."""
        assert [f"{problem.key} {problem.text}" for problem in self.config().problems()] == []

    def test_its_settings_know_its_name(self) -> None:
        """`_name` of the schema is the registered name, by which a saved config finds the plug-in again."""
        assert self.config()._name == self.name

    def test_it_says_in_one_line_what_it_is(self) -> None:
        """The first line of the schema's docstring is what `python -m seqtrain.plugins` shows."""
        assert self.entry().summary


def json_round_trip(value: Any) -> Any:
    """The value as a checkpoint's state.json gives it back; fails on what is no JSON."""
    return json.loads(json.dumps(value, allow_nan=False))
