"""Every key of a run's config is known to change the result, the speed, or neither."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from fnmatch import fnmatch

import pytest

from seqtrain.config import CHANGES_NOTHING, CHANGES_SPEED
from seqtrain.config.catalog import default_of
from seqtrain.config.check import to_container
from seqtrain.config.differences import flatten
from seqtrain.config.key_classes import CLASSES, KeyClass, class_in_table, class_of, declared_class
from seqtrain.config.registry import KINDS, load_builtins
from seqtrain.config.root import TrainConfig
from seqtrain.config.schema import PluginConfig

load_builtins()


def own_keys() -> list[str]:
    """The keys of a run's config that belong to no plug-in."""
    fields = [one for one in dataclasses.fields(TrainConfig) if one.name not in KINDS]
    return list(flatten({one.name: to_container(default_of(one)) for one in fields}))


def test_every_key_has_a_class() -> None:
    unclassed = [key for key in own_keys() if class_in_table(key) is None]
    assert unclassed == [], (
        f"{', '.join(unclassed)}: say in CLASSES (seqtrain/config/key_classes.py) what another value changes in a run "
        "that goes on: KeyClass.result (refused at resume), .speed (the last bits at most), or .neither (limits, "
        "intervals, paths, what is shown)"
    )


def test_no_class_is_that_of_a_key_which_does_not_exist() -> None:
    idle = [pattern for pattern in CLASSES if not any(fnmatch(key, pattern) for key in own_keys())]
    assert idle == [], f"CLASSES names {', '.join(idle)}, which no key of TrainConfig is called"


def test_no_class_is_hidden_behind_a_pattern_before_it() -> None:
    first = {next(pattern for pattern in CLASSES if fnmatch(key, pattern)) for key in own_keys()}
    assert [pattern for pattern in CLASSES if pattern not in first] == []


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("training.seed", KeyClass.result),
        ("training.max_updates", KeyClass.neither),
        ("training.num_threads", KeyClass.speed),
        ("training.update_freq", KeyClass.derived),
        ("checkpoint.save_interval_minutes", KeyClass.neither),
        ("logging.interval_updates", KeyClass.neither),
        ("model.dropout", KeyClass.result),
        ("task.source_lang", KeyClass.result),
        ("task.data", KeyClass.neither),
        ("task.cache", KeyClass.neither),
        ("no.such_key", KeyClass.result),
        ("optimizer.lr", KeyClass.result),
    ],
)
def test_classes(key: str, expected: KeyClass) -> None:
    config = {"task": {"_name": "translation"}, "model": {"_name": "transformer"}, "optimizer": {"_name": "unknown"}}
    assert class_of(key, config) is expected


@dataclass(kw_only=True)
class KernelConfig(PluginConfig):
    """The settings of a plug-in."""

    width: int = 3
    """How wide."""
    kernel: str = field(default="fast", metadata=CHANGES_SPEED)
    """Which kernel."""
    figures: str | None = field(default=None, metadata=CHANGES_NOTHING)
    """Where figures go."""


@dataclass(kw_only=True)
class WideKernelConfig(KernelConfig):
    """Another default of an inherited field."""

    width: int = 30
    """How wide."""
    kernel: str = "exact"
    """Which kernel."""


@pytest.mark.parametrize("schema", [KernelConfig, WideKernelConfig])
def test_a_plugins_key_changes_the_result_unless_its_author_says_otherwise(schema: type) -> None:
    classes = [declared_class(schema, name) for name in ("width", "kernel", "figures")]
    assert classes == [KeyClass.result, KeyClass.speed, KeyClass.neither]
