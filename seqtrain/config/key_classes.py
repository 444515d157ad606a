"""What each key of a run's config changes: its result, its speed, or neither.

A run that goes on must keep the first class as it was; see `differences.py`. The keys of seqtrain's own sections stand
in a table here. Those of a plug-in change the result, unless its author says otherwise beside the field:

    cache: str | None = field(default=None, metadata=CHANGES_NOTHING)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from fnmatch import fnmatch
from types import MappingProxyType
from typing import Any

from seqtrain.config.registry import KINDS, registry


class KeyClass(Enum):
    """What another value of a key changes in a run that goes on; the value says it in words."""

    result = "the result"
    speed = "the speed, and the result in its last bits at most"
    neither = "neither the result nor the speed"
    derived = "nothing by itself: it follows from other things, and is checked against the checkpoint"


_METADATA = "seqtrain_key_class"

CHANGES_SPEED: Mapping[str, KeyClass] = MappingProxyType({_METADATA: KeyClass.speed})
"""Metadata of a plug-in's field that changes how fast a run is, and its result in the last bits at most."""
CHANGES_NOTHING: Mapping[str, KeyClass] = MappingProxyType({_METADATA: KeyClass.neither})
"""Metadata of a plug-in's field that changes no update: a path, or what is shown and measured."""

CLASSES: Mapping[str, KeyClass] = {
    "batching.max_tokens": KeyClass.result,
    "batching.max_sentences": KeyClass.result,
    "batching.find_max_tokens": KeyClass.derived,
    "batching.form": KeyClass.result,
    "batching.required_batch_size_multiple": KeyClass.result,
    "batching.num_prefetch": KeyClass.speed,
    "training.device": KeyClass.speed,
    "training.precision": KeyClass.result,
    "training.num_threads": KeyClass.speed,
    "training.deterministic": KeyClass.speed,
    "training.attention": KeyClass.speed,
    "training.compile": KeyClass.speed,
    "training.cuda_graphs": KeyClass.speed,
    "training.max_*": KeyClass.neither,
    "training.stop_time_hours": KeyClass.neither,
    "training.time_budget_hours": KeyClass.neither,
    "training.update_freq": KeyClass.derived,
    "training.clip_norm": KeyClass.result,
    "training.seed": KeyClass.result,
    "training.ema_decay": KeyClass.result,
    "training.reduction": KeyClass.result,
    "training.profile": KeyClass.neither,
    "distributed.timeout_seconds": KeyClass.neither,
    "distributed.num_processes": KeyClass.neither,
    "distributed.*": KeyClass.speed,
    "validation.*": KeyClass.neither,
    "checkpoint.save_in_background": KeyClass.speed,
    "checkpoint.*": KeyClass.neither,
    "generation.*": KeyClass.neither,
    "logging.*": KeyClass.neither,
    "run_name": KeyClass.neither,
}
"""The classes of seqtrain's own keys, by name or by pattern; the first that fits counts."""


def class_in_table(key: str) -> KeyClass | None:
    """The class of a key of seqtrain's own sections; None if the table does not have it."""
    return next((key_class for pattern, key_class in CLASSES.items() if fnmatch(key, pattern)), None)


def class_of(key: str, config: Mapping[str, Any]) -> KeyClass:
    """The class of a key.

    Args:
        key: The whole key: `optimizer.lr`.
        config: The plain values of the config, which name its plug-ins.
    """
    kind, _, names = key.partition(".")
    if kind not in KINDS:
        return class_in_table(key) or KeyClass.result
    part = config.get(kind)
    entry = registry.find(kind, str(part.get("_name"))) if isinstance(part, Mapping) else None
    return declared_class(entry.schema, names.partition(".")[0]) if entry is not None else KeyClass.result


def declared_class(schema: type[Any], name: str) -> KeyClass:
    """What the author of a plug-in's schema says of a field, there or in a base that declares it first."""
    for base in schema.__mro__:
        field: dataclasses.Field[Any] | None = vars(base).get("__dataclass_fields__", {}).get(name)
        if field is not None and _METADATA in field.metadata:
            key_class: KeyClass = field.metadata[_METADATA]
            return key_class
    return KeyClass.result
