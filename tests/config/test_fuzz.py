"""Overrides of any kind: a config of the right types, or an error of ours."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from seqtrain.config import raw_values
from seqtrain.config.app import Command, prepare
from seqtrain.config.check import check, from_yaml, raise_faults, read, to_container, to_yaml, typed
from seqtrain.config.convert import Faults
from seqtrain.config.differences import flatten
from seqtrain.config.messages import composing
from seqtrain.config.paths import conf_folder
from seqtrain.config.registry import KINDS, registry
from seqtrain.config.root import TrainConfig
from seqtrain.errors import SeqtrainError
from tests.config.conftest import RunCommand
from tests.faults.fuzz import fuzz
from tests.faults.plugin import Figures, Size

COMMAND_SHARE = 0.05
"""Of the examples that go through the whole command; it takes twenty times as long."""


@pytest.fixture(scope="module")
def composed() -> DictConfig:
    """The config of the demo, as Hydra composed it."""
    prepare(Command("train", TrainConfig, "tests.config.jobs:record"))
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("train", ["experiment=demo"])


# Overrides

NUMBERS = ["1", "0", "-1", "2", "1.5", "1e3", "1e999", "nan", "-inf", "9" * 30, "0x10", "1_000", "true", "no", "null"]
TEXTS = [
    "''",
    "' '",
    "a",
    "adam",
    "fp32",
    "auto",
    "???",
    "\u2028",
    "\\",
    "'",
    '"',
    "$",
    "${",
    "}",
    "\0",
    "\t",
    "\n",
    "../..",
]
REFERENCES = [
    "${a}",
    "${training.seed}",
    "${oc.env:HOME}",
    "${oc.env:NOT_THERE}",
    "${oc.decode:1}",
    "${eval:1}",
    "${run_folder:a,b}",
]
NESTED = [
    "[",
    "]",
    "{",
    "[]",
    "{}",
    "[1,2]",
    "{a:1}",
    "{_target_:os.system}",
    "[{_target_:os.system}]",
    "a,b",
    "a=b",
    "a:b",
]
FUNCTIONS = ["choice(1,2)", "range(3)", "int(1)", "str(1)", "glob(*)", "sort(2,1)", "int(a)", "!!python/name:os.system"]
ODD_KEYS = [
    "",
    ".",
    "training.",
    ".seed",
    "training..seed",
    "training.seed.x",
    "a b",
    "training.sed",
    "task@x",
    "a@b.c",
]
ODD_KEYS += ["hydra.run.dir", "_target_", "model._target_", "model._name", "experiment"]
VALUES = (
    st.sampled_from([*NUMBERS, *TEXTS, *REFERENCES, *NESTED, *FUNCTIONS])
    | st.integers().map(str)
    | st.floats().map(str)
    | st.text(max_size=6)
)
PREFIXES = st.sampled_from(["", "", "", "", "+", "++", "~"])


def keys(composed: DictConfig) -> st.SearchStrategy[str]:
    """Keys of the config, sections and groups of it, and what is nearly one."""
    container: Any = OmegaConf.to_container(composed)
    leaves = sorted(flatten(container))
    sections = sorted({leaf.partition(".")[0] for leaf in leaves})
    return (
        st.sampled_from(leaves)
        | st.sampled_from(leaves)
        | st.sampled_from([*sections, *ODD_KEYS])
        | st.text(max_size=5)
    )


def overrides(composed: DictConfig) -> st.SearchStrategy[list[str]]:
    """Some overrides, with and without a value; of each two, one with a value of the key's own kind."""
    container: Any = OmegaConf.to_container(composed)
    leaves = {key: value for key, value in flatten(container).items() if not key.endswith("_name")}
    likely = st.sampled_from(sorted(leaves)).flatmap(lambda key: _near(leaves[key]).map(lambda value: f"{key}={value}"))
    anything = st.tuples(PREFIXES, keys(composed), st.sampled_from(["=", "=", "=", "=", ""]), VALUES).map("".join)
    return st.lists(likely | likely | likely | anything, min_size=1, max_size=2)


def _near(value: Any) -> st.SearchStrategy[str]:
    """Values of the same kind as one, that among them."""
    if isinstance(value, bool):
        return st.sampled_from(["true", "false"])
    if isinstance(value, int):
        return st.integers(1, 1000).map(str)
    if isinstance(value, float):
        return st.floats(0, 1).map(str)
    return st.just("null" if value is None else str(value)) | st.text("abc/._-", min_size=1, max_size=5)


def test_any_overrides_of_keys(composed: DictConfig, size: Size, figures: Figures) -> None:
    def overrides_of_keys(arguments: list[str]) -> bool:
        config = copy.deepcopy(composed)
        try:
            with composing(arguments):
                parsed = OverridesParser.create().parse_overrides(arguments)
                ConfigLoaderImpl._apply_overrides_to_config(
                    [one for one in parsed if not one.is_sweep_override()], config
                )
                container: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=False, enum_to_str=True)
            faults = Faults()
            raw_values.check_texts(container, arguments, faults)
            result = read(TrainConfig, container, faults)
            raise_faults(faults)
        except SeqtrainError:
            return True
        _require_right(result, arguments)
        return False

    fuzz(overrides(composed), overrides_of_keys, size=size, figures=figures, share=1 - COMMAND_SHARE)


def _require_right(config: Any, arguments: list[str]) -> None:
    """A config that was accepted is one that can be saved and read again."""
    assert isinstance(config, TrainConfig)
    check(config)
    plain = to_container(config)
    assert typed(TrainConfig, plain) == config
    touched = {argument.lstrip("+~").partition(".")[0].partition("=")[0] for argument in arguments}
    sections = {name: value for name, value in plain.items() if name in touched}  # YAML is slow to write and to read
    assert from_yaml(to_yaml(sections)) == sections


def test_any_overrides_through_the_whole_command(
    composed: DictConfig, run: RunCommand, folder: Path, size: Size, figures: Figures
) -> None:
    groups = [*KINDS, "experiment", "hydra/launcher"]
    options = [name for kind in KINDS for name in registry.all_names(kind)] + ["demo", "basic", "../model/x", ""]
    chosen = st.tuples(st.sampled_from(groups), st.sampled_from(options)).map("=".join)

    def overrides_through_the_command(arguments: list[str]) -> bool:
        outcome = run("--check", "experiment=demo", *arguments)
        assert "Traceback" not in outcome.err
        assert outcome.status in (0, 2)
        assert list(folder.iterdir()) == []
        return outcome.status == 2

    fuzz(
        st.lists(chosen, max_size=2).flatmap(lambda some: overrides(composed).map(lambda others: [*some, *others])),
        overrides_through_the_command,
        size=size,
        figures=figures,
        share=COMMAND_SHARE,
    )
