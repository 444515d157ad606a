"""Every registered plug-in, those of user_plugins/ included, passes the contract suite of its kind."""

from __future__ import annotations

from typing import Any

from seqtrain.config import registry
from seqtrain.testing import (
    CriterionContract,
    LRSchedulerContract,
    ModelContract,
    OptimizerContract,
    PluginContract,
    TaskContract,
)

# Small enough for two cores; what is not named here passes with its defaults.
OVERRIDES: dict[tuple[str, str], dict[str, Any]] = {
    ("task", "translation"): {"source_lang": "en", "target_lang": "de"},
    ("task", "language_modeling"): {"tokens_per_sample": 16},
    ("model", "my_lstm"): {"embed_dim": 16, "hidden_size": 16},
}

SUITES: tuple[type[PluginContract], ...] = (
    TaskContract,
    ModelContract,
    CriterionContract,
    OptimizerContract,
    LRSchedulerContract,
)


def make_suite(suite: type[PluginContract], name: str) -> type[PluginContract]:
    """The test class of one plug-in."""
    overrides = OVERRIDES.get((suite.kind, name), {})
    return type(f"Test_{suite.kind}_{name}", (suite,), {"name": name, "overrides": overrides, "__module__": __name__})


for _suite in SUITES:
    for _name in registry.all_names(_suite.kind):
        _test_class = make_suite(_suite, _name)
        globals()[_test_class.__name__] = _test_class
