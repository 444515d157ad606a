"""`--rerun DIR`: the saved config of a run, run again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from tests.config.conftest import TRAIN, Outcome, RunCommand
from tests.config.files import write, write_widget

SAVE = dataclasses.replace(TRAIN, run="tests.config.jobs:save")


def first_run(run: RunCommand, *arguments: str) -> Outcome:
    """A run whose folder is outputs/first."""
    outcome = run("task.data=x", "run_name=first", *arguments, command=SAVE)
    assert outcome.status == 0, outcome.err
    return outcome


def test_a_run_again_has_the_same_config_and_a_new_folder(run: RunCommand, folder: Path) -> None:
    first = first_run(run, "optimizer.lr=0.25", "model=transformer_tiny", "generation.seed=${training.seed}")
    again = run("--rerun", "outputs/first", command=SAVE)
    assert again.config == dataclasses.replace(first.config, run_name=None)
    assert again.job.run_dir.parent.parent == folder / "outputs"
    saved = yaml.safe_load(again.job.hydra_files["config.yaml"])
    assert saved["generation"]["seed"] == "${training.seed}"
    assert again.job.flags == {"rerun"}


def test_a_run_again_of_a_run_again_works_too(run: RunCommand) -> None:
    first = first_run(run, "optimizer.lr=0.25")
    run("--rerun", "outputs/first", "run_name=second", command=SAVE)
    assert run("--rerun", "outputs/second").config == dataclasses.replace(first.config, run_name=None)


def test_a_run_again_takes_overrides_that_are_checked_as_ever(run: RunCommand) -> None:
    first_run(run)
    assert run("--rerun", "outputs/first", "optimizer.lr=2", "run_name=other").config.optimizer.lr == 2.0
    assert run("--rerun", "outputs/first", "model.dropuot=0.1").err == (
        "seqtrain: error: model.dropuot is no key of TransformerConfig\ndid you mean model.dropout?\n"
    )
    assert run("--rerun=outputs/first", "model.dropout=much").err == (
        "seqtrain: error: model.dropout must be a number, but is 'much'\n"
    )


def test_a_run_again_can_be_swept(run: RunCommand) -> None:
    first_run(run)
    outcome = run("--rerun", "outputs/first", "-m", "optimizer.lr=1,2")
    assert [config.optimizer.lr for config, _ in outcome.runs] == [1.0, 2.0]


def test_a_run_again_finds_the_plugins_of_the_run_from_any_folder(
    run: RunCommand, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_widget(folder / "my_plugins")
    first_run(run, "hydra.searchpath=[my_plugins]", "model=widget_big")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    outcome = run("--rerun", "../outputs/first")
    assert outcome.config.model.size == 12
    assert outcome.err == f"seqtrain: imports the plug-ins that the run used, from {folder}/my_plugins\n"


@pytest.mark.parametrize("override", ["model=transformer_tiny", "+optimizer=adam", "experiment=multi30k_tiny"])
def test_a_run_again_cannot_choose_other_options(run: RunCommand, override: str) -> None:
    first_run(run)
    group = override.lstrip("+").partition("=")[0]
    assert run("--rerun", "outputs/first", override).err == (
        f"seqtrain: error: {override}: a run again keeps its {group}; "
        "the groups that its config was composed from are gone\n"
        f"set single keys ({group}.KEY=VALUE), or start from the first command line\n"
    )


@pytest.mark.parametrize("key", ["hydra", "defaults"])
def test_a_saved_config_that_could_run_code_is_refused(run: RunCommand, folder: Path, key: str) -> None:
    first_run(run)
    file = folder / "outputs/first/.hydra/config.yaml"
    file.write_text(file.read_text() + f"{key}: {{callbacks: {{x: {{_target_: shutil.copy}}}}}}\n")
    assert run("--rerun", "outputs/first").err == (
        f"seqtrain: error: outputs/first/.hydra/config.yaml sets {key}, which no saved config does: it could run code\n"
        f"look into the file; take {key} out if you trust the rest\n"
    )


def test_a_folder_that_is_no_run_is_refused(run: RunCommand, folder: Path) -> None:
    (folder / "empty").mkdir()
    assert run("--rerun", "gone").err == "seqtrain: error: --rerun: there is no folder gone\n"
    assert run("--rerun", "empty").err == (
        "seqtrain: error: --rerun: empty is no run folder: it has no .hydra/config.yaml\n"
    )
    assert run("--rerun").err == "seqtrain: error: --rerun needs a value\n"


def test_a_saved_config_that_is_no_yaml_is_named(run: RunCommand, folder: Path) -> None:
    write(folder / "bad/.hydra/config.yaml", "a: [1\n")
    assert run("--rerun", "bad").err == (
        "seqtrain: error: bad/.hydra/config.yaml:2: expected ',' or ']', but got '<stream end>'\n"
    )
