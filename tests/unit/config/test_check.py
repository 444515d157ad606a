"""Whole configs: typed from plain values, checked, and brought back to plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqtrain.config.check import check, from_yaml, to_container, to_yaml, typed
from seqtrain.config.registry import registry
from seqtrain.config.root import Device, PreprocessConfig, TrainConfig
from seqtrain.errors import ConfigError, PluginError

PLUGINS: dict[str, Any] = {
    "task": {"_name": "translation", "data": "x"},
    "model": {"_name": "transformer"},
    "criterion": {"_name": "cross_entropy"},
    "optimizer": {"_name": "adam", "lr": 0.25},
    "lr_scheduler": {"_name": "fixed"},
}


def refusal(container: dict[str, Any]) -> str:
    """What is said of a config that is refused."""
    with pytest.raises(ConfigError) as caught:
        typed(TrainConfig, container)
    return str(caught.value)


def test_plugins_become_instances_of_their_schemas() -> None:
    config = typed(TrainConfig, {**PLUGINS, "training": {"device": "cpu"}})
    assert type(config.model) is registry.get("model", "transformer").schema
    assert config.optimizer.lr == 0.25
    assert config.training.device is Device.cpu
    assert config.batching.max_tokens == TrainConfig().batching.max_tokens


def test_plain_values_and_back_are_the_same_config() -> None:
    config = typed(TrainConfig, PLUGINS)
    container = to_container(config)
    assert container["model"]["_name"] == "transformer"
    assert container["training"]["device"] == "auto"
    assert typed(TrainConfig, container) == config
    assert typed(TrainConfig, from_yaml(to_yaml(config))) == config


def test_a_root_has_the_plugins_that_it_declares() -> None:
    config = typed(PreprocessConfig, {"task": PLUGINS["task"], "output": "there"})
    assert config.output == "there"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"model": None}, "model is null, but a model is needed\nchoose one: my_lstm, transformer, transformer_lm"),
        (
            {"model": "transformer"},
            "model must be the settings of a model, but is 'transformer'\nchoose one: my_lstm, ",
        ),
        ({"optimizer": {"lr": 1}}, "optimizer._name is missing: it says which optimizer this is\nchoose one: adam, "),
        ({"optimizer": {"_name": "adam", "lr": "x"}}, "optimizer.lr must be a number, but is 'x'"),
        ({"batching": {"typo": 1}}, "batching.typo is no key of TrainBatchingConfig"),
        ({"run_name": 5}, "run_name must be text or null, but is 5\nquote it: '5'"),
        ({"training": {"max_updates": None}}, "training.max_updates is null and so are max_epochs, "),
        ({"typo": 1}, "typo is no key of TrainConfig"),
        (
            {"model": {"_name": "transformer", "_target_": "os.system"}},
            "model._target_ is refused: a config cannot name code to call\nregister a plug-in instead",
        ),
        ({"run_name": "${nope}"}, "run_name cannot be resolved: Interpolation key 'nope' not found"),
    ],
)
def test_one_fault_is_said_in_one_line(part: dict[str, Any], message: str) -> None:
    assert refusal({**PLUGINS, **part}).startswith(message)


def test_several_faults_are_listed_with_what_is_missing() -> None:
    container = {**PLUGINS, "optimizer": {"_name": "adam", "lr": -1, "eqs": 1}, "task": {"_name": "translation"}}
    del container["model"]
    assert refusal(container).splitlines() == [
        "the config has 3 faults",
        "  optimizer.eqs is no key of AdamConfig; did you mean optimizer.eps?",
        "  model is missing: one of my_lstm, transformer, transformer_lm",
        "  task.data is missing: The folder of the data: raw text or a data-bin folder. "
        "demo:numbers is a corpus that seqtrain makes itself.",
        "give what is missing on the command line: model=... task.data=...",
    ]


def test_an_unknown_plugin_is_an_error_of_its_own() -> None:
    with pytest.raises(PluginError, match="no optimizer is called 'adan'"):
        typed(TrainConfig, {**PLUGINS, "optimizer": {"_name": "adan"}})


def test_references_between_keys_are_filled_in() -> None:
    config = typed(TrainConfig, {**PLUGINS, "training": {"seed": 7}, "generation": {"seed": "${training.seed}"}})
    assert config.generation.seed == 7


def test_a_default_that_refers_to_another_key_is_filled_in() -> None:
    schedule = {"_name": "polynomial_decay"}
    config = typed(TrainConfig, {**PLUGINS, "lr_scheduler": schedule, "training": {"max_updates": 77}})
    assert config.lr_scheduler.total_num_update == 77


def test_a_changed_config_can_be_checked_again() -> None:
    config = typed(TrainConfig, PLUGINS)
    check(config)
    config.optimizer.lr = -1.0
    config.batching.num_prefetch = -1
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert str(caught.value).splitlines() == [
        "the config has 2 faults",
        "  optimizer.lr must be positive, but is -1.0",
        "  batching.num_prefetch must be at least 0, but is -1",
    ]


def test_texts_that_look_like_something_else_survive_yaml() -> None:
    values = {"a": "no", "b": "1e3", "c": "null", "d": 1e-05, "e": None, "f": [True, "on"], "g": "ä: #"}
    assert from_yaml(to_yaml(values)) == values


def test_yaml_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a: 1\nb: [2\n")
    with pytest.raises(ConfigError, match=f"{file}:3: expected ',' or ']'"):
        from_yaml(file)
    with pytest.raises(ConfigError, match="the YAML text is no mapping of keys to values"):
        from_yaml("[1, 2]")
    with pytest.raises(ConfigError, match="the YAML text:2: found duplicate key a"):
        from_yaml("a: 1\na: 2\n")
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        from_yaml("a: !!python/object/apply:os.getcwd []\n")


def test_paths_and_tuples_become_text_and_lists() -> None:
    assert to_container({"a": Path("x/y"), "b": (1, 2)}) == {"a": "x/y", "b": [1, 2]}
