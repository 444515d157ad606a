"""What is different between two configs, key by key."""

from __future__ import annotations

from typing import Any

import pytest

from seqtrain.config.check import from_yaml, to_yaml, typed
from seqtrain.config.differences import SavedConfig, describe, differences, flatten
from seqtrain.config.key_classes import KeyClass
from seqtrain.config.registry import load_builtins
from seqtrain.config.root import TrainConfig

load_builtins()

PLUGINS: dict[str, Any] = {
    "task": {"_name": "translation", "data": "text"},
    "model": {"_name": "transformer"},
    "criterion": {"_name": "cross_entropy"},
    "optimizer": {"_name": "adam"},
    "lr_scheduler": {"_name": "cosine"},
}


def complete(**parts: Any) -> dict[str, Any]:
    """A whole config as a run saves it."""
    training = {"max_updates": 100, **parts.pop("training", {})}
    return from_yaml(to_yaml(typed(TrainConfig, {**PLUGINS, **parts, "training": training})))


def texts(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [str(change) for change in differences(SavedConfig(old), SavedConfig(new))]


def test_equal_configs_do_not_differ() -> None:
    assert texts(complete(), complete()) == []


def test_keys_differ_by_name() -> None:
    new = complete(optimizer={"_name": "adam", "betas": [0.9, 0.99]}, training={"precision": "bf16", "max_epochs": 3})
    assert texts(complete(), new) == [
        "optimizer.betas: [0.9, 0.98] -> [0.9, 0.99]",
        "training.max_epochs: null -> 3",
        "training.precision: auto -> bf16",
    ]


def test_a_key_that_was_added_since_had_its_default() -> None:
    old = complete()
    del old["training"]["clip_norm"], old["logging"], old["run_name"], old["model"]["dropout"]
    assert texts(old, complete()) == []
    changed = complete(training={"clip_norm": 0.5}, model={"_name": "transformer", "dropout": 0.3})
    assert texts(old, changed) == ["model.dropout: 0.1 -> 0.3", "training.clip_norm: 0.0 -> 0.5"]


def test_a_default_that_refers_to_another_key_is_that_of_the_old_config() -> None:
    old = complete(training={"max_updates": 10})
    del old["lr_scheduler"]["total_num_update"]
    assert texts(old, complete(training={"max_updates": 10})) == []
    assert texts(old, complete(training={"max_updates": 20})) == [
        "lr_scheduler.total_num_update: 10 -> 20",
        "training.max_updates: 10 -> 20",
    ]


def test_what_was_saved_is_text_and_is_not_looked_up() -> None:
    old = complete()
    old["task"]["source_lang"] = "${training.seed}"
    del old["lr_scheduler"]["total_num_update"]
    assert texts(old, complete()) == ["task.source_lang: ${training.seed} -> null"]


def test_a_key_that_is_gone_differs() -> None:
    old = complete()
    old["model"]["num_wings"] = 2
    (change,) = differences(SavedConfig(old), SavedConfig(complete()))
    assert str(change) == "model.num_wings: 2 -> null"
    assert change.is_refused(())


def test_another_plugin_is_not_filled_with_this_ones_defaults() -> None:
    old = {**complete(), "criterion": {"_name": "my_own", "label_smoothing": 0.1}}
    new = complete(criterion={"_name": "label_smoothed_cross_entropy", "label_smoothing": 0.1})
    assert texts(old, new) == [
        "criterion._name: my_own -> label_smoothed_cross_entropy",
        "criterion.sentence_avg: null -> false",
    ]


@pytest.mark.parametrize(
    ("composed", "follows"),
    [
        ({"lr_scheduler": {"total_num_update": "${training.max_updates}"}}, "training.max_updates"),
        ({"lr_scheduler": {"total_num_update": "${oc.env:UPDATES}"}}, None),
        ({}, None),
    ],
)
def test_a_value_that_refers_to_another_key_follows_it(composed: dict[str, Any], follows: str | None) -> None:
    old, new = complete(training={"max_updates": 10}), complete(training={"max_updates": 20})
    change, _ = differences(SavedConfig(old, composed), SavedConfig(new, composed))
    assert (change.key, change.follows, change.is_refused(())) == (
        "lr_scheduler.total_num_update",
        follows,
        not follows,
    )


def test_a_change_is_refused_if_it_changes_results_and_is_not_allowed() -> None:
    new = complete(optimizer={"_name": "adam", "lr": 1.0}, training={"max_updates": 7, "num_threads": 1})
    changes = differences(SavedConfig(complete()), SavedConfig(new))
    assert [change.key for change in changes if change.is_refused(())] == [
        "lr_scheduler.total_num_update",
        "optimizer.lr",
    ]
    assert [change.key for change in changes if change.is_refused(["optimizer.*"])] == ["lr_scheduler.total_num_update"]


def test_differences_are_described_under_what_they_change() -> None:
    new = complete(
        training={"update_freq": 2, "num_threads": 1, "seed": 3},
        task={"_name": "translation", "data": "elsewhere"},
        batching={"num_prefetch": 0},
    )
    assert describe(differences(SavedConfig(complete()), SavedConfig(new))) == (
        f"  changes {KeyClass.result.value}:\n"
        "    training.seed: 1 -> 3\n"
        f"  changes {KeyClass.speed.value}:\n"
        "    batching.num_prefetch: 4 -> 0\n"
        "    training.num_threads: null -> 1\n"
        f"  changes {KeyClass.neither.value}:\n"
        "    task.data: text -> elsewhere\n"
        f"  changes {KeyClass.derived.value}:\n"
        "    training.update_freq: 1 -> 2"
    )


def test_leaves_are_named_by_their_path() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "a.c": {}, "d": [1, 2]}
