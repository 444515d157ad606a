"""Everything that can be chosen composes, alone and together, into a config whose types are right."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from seqtrain.config import catalog
from seqtrain.config.app import prepare
from seqtrain.config.check import from_yaml, read, to_container
from seqtrain.config.convert import Faults
from seqtrain.config.paths import conf_folder
from seqtrain.config.registry import KINDS, registry
from seqtrain.config.root import (
    AverageConfig,
    ConvertConfig,
    EvaluateConfig,
    GenerateConfig,
    InferenceConfig,
    InteractiveConfig,
    PreprocessConfig,
    TrainConfig,
    VerifyDataConfig,
)
from seqtrain.config.schema import Section
from tests.config.conftest import TRAIN

ROOTS: dict[str, type[Section]] = {
    "train": TrainConfig,
    "preprocess": PreprocessConfig,
    "generate": GenerateConfig,
    "interactive": InteractiveConfig,
    "evaluate": EvaluateConfig,
    "average": AverageConfig,
    "verify_data": VerifyDataConfig,
    "convert": ConvertConfig,
}
EXPERIMENTS = sorted(path.stem for path in (conf_folder() / "experiment").glob("*.yaml"))


@pytest.fixture
def hydra() -> Iterator[None]:
    """Hydra, ready to compose seqtrain's configs."""
    for name, root in ROOTS.items():
        prepare(dataclasses.replace(TRAIN, name=name, root=root))
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield


def faults_of(root: type[Section], *overrides: str, command: str = "train") -> list[str]:
    """Compose a config; what is wrong with it, but for what a person has yet to give."""
    container: Any = OmegaConf.to_container(compose(command, list(overrides)), resolve=True, enum_to_str=True)
    faults = Faults()
    read(root, container, faults)
    return [f"{fault.key} {fault.text}" for fault in faults.found]


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_every_group_composes(kind: str) -> None:
    for option in catalog.options(kind):
        assert faults_of(TrainConfig, f"{kind}={option.name}") == [], option.name


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes(experiment: str) -> None:
    assert faults_of(TrainConfig, f"experiment={experiment}") == []


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("kind", ["model", "optimizer", "lr_scheduler"])
def test_every_experiment_composes_with_every_other_plugin(experiment: str, kind: str) -> None:
    for name in registry.all_names(kind):
        config = compose("train", [f"experiment={experiment}", f"{kind}={name}"])
        assert config[kind]._name == name


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize("command", ROOTS)
def test_a_primary_config_says_no_default_twice(command: str) -> None:
    root = ROOTS[command]
    composed = OmegaConf.to_container(compose(command), resolve=True, enum_to_str=True)
    expected: dict[str, Any] = {}
    for field in dataclasses.fields(root):
        if field.name in KINDS:
            expected[field.name] = to_container(registry.get(field.name, composed_name(composed, field.name)).schema())
        else:
            expected[field.name] = to_container(catalog.default_of(field))
    assert composed == expected


def composed_name(composed: Any, kind: str) -> str:
    """The `_name` of a plug-in in a composed config."""
    name: str = composed[kind]["_name"]
    return name


@pytest.mark.usefixtures("hydra")
def test_the_default_plugins_are_those_of_the_design() -> None:
    composed = compose("train")
    assert {kind: composed[kind]._name for kind in KINDS} == {
        "model": "transformer",
        "criterion": "label_smoothed_cross_entropy",
        "task": "translation",
        "optimizer": "adam",
        "lr_scheduler": "inverse_sqrt",
    }


@pytest.mark.usefixtures("hydra")
def test_the_command_line_wins_over_an_experiment_and_an_experiment_over_the_defaults() -> None:
    config = compose("train", ["experiment=multi30k_tiny", "lr_scheduler=fixed", "task.source_lang=xx"])
    assert config.lr_scheduler._name == "fixed"
    assert config.model.encoder_embed_dim == 128
    assert (config.task.source_lang, config.task.target_lang) == ("xx", "de")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_sets_no_key_that_only_some_models_or_schedules_have(experiment: str) -> None:
    body = from_yaml(conf_folder() / f"experiment/{experiment}.yaml")
    assert {"model", "lr_scheduler", "hydra"} & set(body) == set()
    shared = {field.name for kind in ("optimizer",) for field in dataclasses.fields(registry._bases[kind])}
    assert set(body.get("optimizer", {})) <= shared


def test_the_inference_commands_share_their_settings() -> None:
    assert all(issubclass(ROOTS[name], InferenceConfig) for name in ("generate", "interactive", "evaluate"))
