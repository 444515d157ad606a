"""Booleans and numbers of YAML files and command lines where text belongs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from seqtrain.config import raw_values
from seqtrain.config.convert import Faults


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Forget what the test took down."""
    yield
    raw_values._taken_down.clear()


def load(config_path: str, text: str, package: str | None = None) -> None:
    """Take down a YAML file of the folder /conf."""
    result = ConfigResult("main", "file:///conf", OmegaConf.create(text), {"package": package})
    raw_values.take_down(config_path, result, "/conf")


def faults_of(container: object, *overrides: str) -> list[str]:
    """What is said of the texts of a config."""
    faults = Faults()
    raw_values.check_texts(container, overrides, faults)
    return [f"{fault.key} {fault.text}" for fault in faults.found]


@pytest.mark.parametrize(
    ("config_path", "package", "text", "container"),
    [
        ("task/mine", None, "lang: no", {"task": {"lang": "False"}}),
        ("experiment/mine", "_global_", "task: {lang: no}", {"task": {"lang": "False"}}),
        ("mine", None, "task: {lang: off}", {"task": {"lang": "False"}}),
        ("x/mine", "task", "lang: false", {"task": {"lang": "False"}}),
    ],
)
def test_a_boolean_is_found_by_its_key_in_the_whole_config(
    config_path: str, package: str | None, text: str, container: object
) -> None:
    load(config_path, text, package)
    assert faults_of(container) == [f"task.lang must be text, but is false in /conf/{config_path}.yaml"]


def test_numbers_in_lists_are_found_too() -> None:
    load("task/mine", "langs: [en, 5, {x: 1e3}]")
    assert faults_of({"task": {"langs": ["en", "5", {"x": "1000.0"}]}}) == [
        "task.langs[1] must be text, but is 5 in /conf/task/mine.yaml",
        "task.langs[2].x must be text, but is 1000.0 in /conf/task/mine.yaml",
    ]


@pytest.mark.parametrize("container", [{"lang": False}, {"lang": "de"}, {"other": "False"}, {"lang": None}])
def test_a_boolean_that_stayed_one_or_was_overridden_is_none_of_our_business(container: object) -> None:
    load("task/mine", "lang: no")
    assert faults_of({"task": container}) == []


@pytest.mark.parametrize(
    ("override", "composed", "fault"),
    [
        ("name=no", "no", None),
        ("name=3", "3", None),
        ("name=3.5", "3.5", None),
        ("name=false", "False", "name must be text, but false is the boolean False"),
        ("name=1e3", "1000.0", "name must be text, but 1e3 is the number 1000.0"),
        ("name=1_000", "1000", "name must be text, but 1_000 is the number 1000"),
        ("name='1e3'", "1e3", None),
    ],
)
def test_an_override_passes_where_it_can_mean_one_thing_only(override: str, composed: str, fault: str | None) -> None:
    assert faults_of({"name": composed}, override, "other=1,2") == ([fault] if fault else [])


def test_an_override_takes_the_place_of_a_file() -> None:
    load("task/mine", "lang: 5")
    assert faults_of({"task": {"lang": "5"}}, "task.lang=5") == []
