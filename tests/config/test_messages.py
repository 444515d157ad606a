"""Every mistake on a command line gives one screen: these are the screens, whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from tests.config.conftest import RunCommand
from tests.config.files import write

MODELS = "no model is called"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model.dropuot=0.3"],
            "model.dropuot is no key of TransformerConfig\ndid you mean model.dropout?",
        ),
        (["lr=1"], "lr is no key of TrainConfig\ndid you mean optimizer.lr?"),
        (
            ["optimizer.learning_rate=1"],
            "optimizer.learning_rate is no key of AdamConfig\n"
            "its keys are lr, weight_decay, no_weight_decay, betas, eps",
        ),
        (["optimiser=adam"], "optimiser is no key of TrainConfig\ndid you mean optimizer?"),
        (["training.max_updates=abc"], "training.max_updates must be a whole number or null, but is 'abc'"),
        (["training.max_updates=1.5"], "training.max_updates must be a whole number or null, but is 1.5"),
        (["optimizer.lr=null"], "optimizer.lr must be a number, but is null"),
        (["optimizer.betas=3"], "optimizer.betas must be a list of numbers, but is 3"),
        (["optimizer.betas=[a,b]"], "optimizer.betas[0] must be a number, but is 'a'"),
        (
            ["training.device=CPU"],
            "training.device must be one of auto, cpu, cuda, but is 'CPU'\ndid you mean cpu?",
        ),
        (["model=null"], "model=null: a model is needed"),
        (["experiment=null"], "experiment=null: to have none, leave it out"),
        (
            ["model._name=my_lstm"],
            "model._name is 'my_lstm', but the settings are those of transformer\nwrite model=my_lstm",
        ),
        (["task.data=x", "+model.typo=1"], "model.typo is no key of TransformerConfig"),
        (
            ["task.data=x", "+model.dropuot=1"],
            "model.dropuot is no key of TransformerConfig\ndid you mean model.dropout?",
        ),
        (["task.data=${nope}"], "task.data: Interpolation key 'nope' not found"),
        (
            ["task.data=a,b"],
            "task.data is given several values: a,b\n"
            "add --multirun to run each; a list is written task.data=[a,b], a text with a comma task.data=\\'a,b\\'",
        ),
        (
            ["task.data=a(b"],
            "the override 'task.data=a(b' cannot be read, near 'a(b'\n"
            """quote a value that holds , = : ( ) [ ] { } or blanks: 'key="a, b"'""",
        ),
        (
            ["task.data=x", "run_name=1e3"],
            "run_name must be text, but 1e3 is the number 1000.0\nwrite \"run_name='1e3'\"",
        ),
        (
            ["task.data=x", "task.target_lang=no", "task.source_lang=false"],
            "task.source_lang must be text, but false is the boolean False\nwrite \"task.source_lang='false'\"",
        ),
        (["--chekc"], "unknown flag --chekc\ndid you mean --check or --help?"),
        (["--cfg", "jobs"], "--cfg takes job, hydra, all, but is given jobs\ndid you mean job?"),
        (["--cfg"], "--cfg needs a value"),
        (["transformer"], "'transformer' is neither a flag nor an override\nwrite key=value, or group=option"),
        (
            ["--multirun", "hydra.job.name=a,b"],
            "Sweeping over Hydra's configuration is not supported : 'hydra.job.name=a,b'",
        ),
        (["hydra.searchpath=x"], "hydra.searchpath is no list\nwrite 'hydra.searchpath=[file://FOLDER]'"),
        (["-cn", "nope"], "Cannot find primary config 'nope'. Check that it's in your config search path."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_explained(run: RunCommand, arguments: list[str], message: str) -> None:
    outcome = run(*arguments)
    assert outcome.err == f"seqtrain: error: {message}\n"
    assert outcome.status == 2
    assert outcome.runs == []


@pytest.mark.parametrize("flags", [[], ["--help"], ["--cfg", "job"], ["--info", "defaults"], ["--multirun"]])
def test_an_unknown_option_is_explained_under_every_flag(run: RunCommand, flags: list[str]) -> None:
    outcome = run(*flags, "optimizer=adan")
    names = "adam, adamw, adamw_gpt, adamw_gpt_char, my_lion, my_lion_large, nag, sgd"
    assert outcome.err == (
        f"seqtrain: error: no optimizer is called 'adan'; there are: {names}\ndid you mean adam or adamw?\n"
    )
    assert outcome.status == 2


def test_an_unknown_experiment_is_an_error(run: RunCommand) -> None:
    outcome = run("experiment=multi30k_tny")
    assert outcome.err.startswith("seqtrain: error: no experiment is called 'multi30k_tny'; there are: ")
    assert "did you mean multi30k_tiny" in outcome.err.splitlines()[1]


def test_an_option_that_an_experiment_asks_for_in_vain_is_named_with_it(run: RunCommand, folder: Path) -> None:
    write(
        folder / "user_plugins/conf/experiment/mine.yaml",
        "# @package _global_\ndefaults: [{override /optimizer: adan}]\n",
    )
    assert run("experiment=mine").err.startswith("seqtrain: error: no optimizer is called 'adan'")


def test_a_launcher_that_is_not_installed_names_the_extra(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    Plugins.instance()  # or the first command would look for them again
    for name in ("joblib.yaml", "submitit_local.yaml", "submitit_slurm.yaml"):
        monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], name, raising=False)
    assert run("hydra/launcher=nope").err == (
        "seqtrain: error: no hydra/launcher is called 'nope'; there are: basic, slurm_a100, slurm_a100x8\n"
    )
    assert run("-m", "hydra/launcher=joblib").err == (
        "seqtrain: error: hydra/launcher=joblib is a plug-in of Hydra's, which is not installed\n"
        "pip install 'seqtrain[sweep]'\n"
    )
    assert run("-m", "hydra/launcher=slurm_a100x8", "task.data=x").err == (
        "seqtrain: error: hydra/launcher=submitit_slurm is a plug-in of Hydra's, which is not installed\n"
        "pip install 'seqtrain[slurm]'\n"
    )


def test_all_that_is_missing_is_listed_at_once_with_its_meaning(run: RunCommand) -> None:
    outcome = run("~model", "optimizer.lr=-1", "+batching.typo=1")
    assert outcome.err == (
        "seqtrain: error: the config has 4 faults\n"
        "  batching.typo is no key of TrainBatchingConfig\n"
        "  optimizer.lr must be positive, but is -1.0\n"
        "  model is missing: one of my_lstm, transformer, transformer_lm\n"
        "  task.data is missing: The folder of the data: raw text or a data-bin folder. "
        "demo:numbers is a corpus that seqtrain makes itself.\n"
        "give what is missing on the command line: model=... task.data=...\n"
    )
    assert outcome.status == 2


def test_problems_of_all_sections_are_shown_at_once(run: RunCommand) -> None:
    outcome = run("task.data=x", "optimizer.lr=0", "batching.num_prefetch=-1", "generation.beam_size=0")
    assert outcome.status == 2
    lines = outcome.err.splitlines()
    assert "  optimizer.lr must be positive, but is 0.0" in lines
    assert "  batching.num_prefetch must be at least 0, but is -1" in lines
    assert "  generation.beam_size must be at least 1, but is 0" in lines


def test_bad_yaml_is_named_by_file_and_line(run: RunCommand, folder: Path) -> None:
    file = folder / "user_plugins/conf/model/mine.yaml"
    write(file, "defaults: [transformer, _self_]\ndropout: 0.1\n  nested: 3\n")
    outcome = run("model=mine")
    assert outcome.err == f"seqtrain: error: {file}:3: mapping values are not allowed here\n"
    assert outcome.status == 2


def test_a_wrong_key_in_a_preset_is_named_with_the_preset(run: RunCommand, folder: Path) -> None:
    write(folder / "user_plugins/conf/model/mine.yaml", "defaults: [transformer, _self_]\ndropuot: 0.1\n")
    assert run("model=mine").err == (
        "seqtrain: error: model.dropuot is no key of TransformerConfig (in model/mine)\ndid you mean model.dropout?\n"
    )


def test_a_wrong_type_in_a_preset_is_named_with_the_preset(run: RunCommand, folder: Path) -> None:
    write(folder / "user_plugins/conf/model/mine.yaml", "defaults: [transformer, _self_]\ndropout: much\n")
    message = "seqtrain: error: model.dropout must be a number, but is 'much' (in model/mine)\n"
    assert run("model=mine").err == message


def test_a_preset_of_something_that_is_not_there_is_explained(run: RunCommand, folder: Path) -> None:
    write(folder / "user_plugins/conf/model/mine.yaml", "defaults: [transfomer, _self_]\n")
    message = "seqtrain: error: model/mine builds on model/transfomer, which is not there\n"
    assert run("model=mine").err == message


def test_a_preset_that_builds_on_itself_is_explained(run: RunCommand, folder: Path) -> None:
    write(folder / "user_plugins/conf/model/mine.yaml", "defaults: [mine, _self_]\n")
    assert run("model=mine").err == (
        "seqtrain: error: a preset refers to itself\nlook for a YAML file that is called like its own default\n"
    )


def test_a_file_that_is_no_text_is_named(run: RunCommand, folder: Path) -> None:
    file = write(folder / "user_plugins/conf/model/mine.yaml", "")
    file.write_bytes(b"dropout: \xff\n")
    assert run("model=mine").err == f"seqtrain: error: {file} is no UTF-8 text\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer: {lr: 1}\n", "experiment is no key of the config (in experiment/mine)"),
        (
            "defaults: [{override /model: transformer_lm}]\n",
            "In 'experiment/mine': Could not override 'model@experiment.model'.",
        ),
    ],
)
def test_an_experiment_without_its_header_is_told_of_it(run: RunCommand, folder: Path, text: str, message: str) -> None:
    write(folder / "user_plugins/conf/experiment/mine.yaml", text)
    header = "begin the file of an experiment with the line: # @package _global_"
    assert run("experiment=mine").err == f"seqtrain: error: {message}\n{header}\n"


def test_a_preset_without_defaults_is_checked_all_the_same(run: RunCommand, folder: Path) -> None:
    write(folder / "user_plugins/conf/model/mine.yaml", "_name: transformer\ndropuot: 0.1\n")
    assert run("task.data=x", "model=mine").err == (
        "seqtrain: error: model.dropuot is no key of TransformerConfig\ndid you mean model.dropout?\n"
    )


def test_a_preset_that_does_not_say_what_it_is_is_refused(run: RunCommand, folder: Path) -> None:
    write(folder / "user_plugins/conf/optimizer/mine.yaml", "lr: 0.1\n")
    assert run("task.data=x", "optimizer=mine").err == (
        "seqtrain: error: optimizer._name is missing: it says which optimizer this is\n"
        "choose one: adam, adamw, nag, sgd\n"
    )


@pytest.mark.parametrize(
    ("written", "read", "advice"),
    [
        ("no", "false", "YAML reads an unquoted no, off or false so: quote the text ('no', 'off' or 'false')"),
        ("yes", "true", "YAML reads an unquoted yes, on or true so: quote the text ('yes', 'on' or 'true')"),
        ("15", "15", "quote it: '15'"),
        ("1.10", "1.1", "quote it: '1.1'"),
    ],
)
def test_a_boolean_or_number_where_text_belongs_is_refused(
    run: RunCommand, folder: Path, written: str, read: str, advice: str
) -> None:
    file = folder / "user_plugins/conf/task/mine.yaml"
    write(file, f"defaults: [translation, _self_]\nsource_lang: en\ntarget_lang: {written}\n")
    outcome = run("task.data=x", "task=mine")
    assert outcome.err == f"seqtrain: error: task.target_lang must be text, but is {read} in {file}\n{advice}\n"


def test_a_quoted_text_in_a_preset_and_an_override_of_an_unquoted_one_are_accepted(
    run: RunCommand, folder: Path
) -> None:
    write(folder / "user_plugins/conf/task/good.yaml", "defaults: [translation, _self_]\ntarget_lang: 'no'\n")
    write(folder / "user_plugins/conf/task/bad.yaml", "defaults: [translation, _self_]\ntarget_lang: no\n")
    assert run("task.data=x", "task.source_lang=en", "task=good").config.task.target_lang == "no"
    assert run("task.data=x", "task.source_lang=en", "task=bad", "task.target_lang=de").config.task.target_lang == "de"


def test_a_config_cannot_name_code_to_call(run: RunCommand) -> None:
    assert run("task.data=x", "+model._target_=os.system").err == (
        "seqtrain: error: model._target_ is refused: a config cannot name code to call\nregister a plug-in instead\n"
    )


def test_hydra_full_error_shows_the_traceback_as_well(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    outcome = run("lr=1")
    assert outcome.err.startswith("Traceback")
    assert outcome.err.endswith("seqtrain: error: lr is no key of TrainConfig\ndid you mean optimizer.lr?\n")
    assert outcome.status == 2
