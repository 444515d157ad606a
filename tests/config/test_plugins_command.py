"""`python -m seqtrain.plugins`: all that can be chosen, and what it means."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seqtrain import plugins
from tests.config.files import WIDGET, write, write_widget


@pytest.fixture
def show(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """Runs the command in an empty working directory."""
    assert Path.cwd() == folder
    return Show(monkeypatch, capsys)


class Show:
    """Runs the command."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch = monkeypatch
        self.capsys = capsys

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """What it prints: on standard error if it fails."""
        self.monkeypatch.setattr(sys, "argv", ["seqtrain-plugins", *arguments])
        left: str | int | None = 0
        try:
            plugins.main()
        except SystemExit as exit_:
            left = exit_.code
        assert left == status
        out, err = self.capsys.readouterr()
        return err if status else out


def test_every_group_lists_its_options_with_what_they_are_and_where(show: Show) -> None:
    lines = show().splitlines()
    assert [line for line in lines if line.endswith("=")] == [
        "model=",
        "criterion=",
        "task=",
        "optimizer=",
        "lr_scheduler=",
        "experiment=",
    ]
    (adam,) = (line.split("  ") for line in lines if line.startswith("  adam "))
    assert [cell.strip() for cell in adam if cell.strip()] == [
        "adam",
        "Adam with decoupled weight decay, and ε outside the bias correction, as in fairseq (Kingma & Ba, 2015).",
        adam[-1].strip(),
    ]
    assert adam[-1].strip().startswith("seqtrain/optimizers/adam.py:")
    (tiny,) = (line for line in lines if line.startswith("  transformer_tiny "))
    assert tiny.endswith("conf/model/transformer_tiny.yaml")


def test_user_plugins_are_listed_without_importing_them(show: Show, folder: Path) -> None:
    write_widget(folder / "user_plugins")
    write(folder / "user_plugins/bomb.py", WIDGET.replace('"widget"', '"bomb"') + "raise SystemExit\n")
    lines = [line.split("  ") for line in show().splitlines()]
    listed = {words[1]: [word.strip() for word in words[2:] if word.strip()] for words in lines if len(words) > 2}
    assert listed["widget"] == ["A widget of some size.", "user_plugins/widget.py:15"]
    assert listed["widget_big"] == ["A big widget.", "user_plugins/conf/model/widget_big.yaml"]
    assert listed["bomb"] == ["A widget of some size.", "user_plugins/bomb.py:15"]


def test_files_that_cannot_be_used_are_listed(show: Show, folder: Path) -> None:
    raising = write(
        folder / "user_plugins/bomb.py", WIDGET.replace('"widget"', '"bomb"') + "print('noise')\nint('x')\n"
    )
    computed = write(
        folder / "user_plugins/computed.py", "from seqtrain.models import register_model\nregister_model(1 / 0)\n"
    )
    syntax = write(folder / "user_plugins/bad.py", "register_model('bad', BadConfig)\ndef f(:\n")
    write_widget(folder / "user_plugins")
    _, _, broken = show().partition("\nFiles that cannot be used\n")
    assert broken.splitlines() == [
        f"  the plug-in file {syntax}:2: SyntaxError: invalid syntax",
        f"  the plug-in file {raising}:19 cannot be imported: ValueError: invalid literal for int() with base 10: 'x'",
        f"  the plug-in file {computed}:2 cannot be imported: ZeroDivisionError: division by zero",
    ]
    write(raising, WIDGET.replace('"widget"', '"bomb"'))
    assert "bomb.py:19" not in show()


def test_a_copy_of_a_folder_is_no_reason_for_complaint(show: Show, folder: Path) -> None:
    write_widget(folder / "user_plugins")
    write_widget(folder / "my_plugins")
    assert "Files that cannot be used" not in show("hydra.searchpath=[my_plugins]")


def test_the_search_path_is_listed_too(show: Show, folder: Path) -> None:
    write_widget(folder / "my_plugins")
    assert "my_plugins/widget.py:15" in show("hydra.searchpath=[file://my_plugins]")


def test_a_plugin_is_shown_with_its_settings(show: Show, folder: Path) -> None:
    write_widget(folder / "user_plugins")
    assert show("model=widget") == (
        "model=widget  user_plugins/widget.py:15\n"
        "A widget of some size.\n"
        "\n"
        "  key   takes           default  meaning\n"
        "  size  a whole number  3        Its size, in inches.\n"
    )


def test_a_preset_is_shown_with_what_it_sets(show: Show, folder: Path) -> None:
    write_widget(folder / "user_plugins")
    assert show("model=widget_big") == (
        "model=widget_big  user_plugins/conf/model/widget_big.yaml\n"
        "A big widget.\n"
        "\n"
        "The settings of model=widget, of which it is a preset\n"
        "  key   takes           default      meaning\n"
        "  size  a whole number  12 (preset)  Its size, in inches.\n"
    )


def test_values_are_shown_as_yaml_has_them(show: Show) -> None:
    table = {line.split()[0]: line for line in show("model=transformer").splitlines() if line.startswith("  ")}
    assert "  one of relu, gelu       relu " in table["activation_fn"]
    assert "  true or false           false " in table["layernorm_embedding"]
    assert " must be given " in show("task=translation")


def test_an_experiment_is_shown_whole(show: Show) -> None:
    shown = show("experiment=multi30k_tiny")
    assert shown.startswith(
        "experiment=multi30k_tiny  conf/experiment/multi30k_tiny.yaml\nTransformer-Tiny on Multi30k"
    )
    assert "- override /model: transformer_multi30k_tiny" in shown


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("optimizer=adan", "no optimizer is called 'adan'; there are: adam, adamw, adamw_gpt, adamw_gpt_char, "),
        ("optimiser=adam", "'optimiser=adam' names no plug-in: write model=NAME, criterion=NAME, task=NAME, "),
        ("adam", "'adam' names no plug-in: write model=NAME, "),
        ("hydra.searchpath=[gone]", "hydra.searchpath names a folder that is not there: gone; looked in "),
        ("hydra.searchpath=gone", "hydra.searchpath is no list\nwrite 'hydra.searchpath=[file://FOLDER]'"),
    ],
)
def test_what_is_not_there_is_explained(show: Show, argument: str, message: str) -> None:
    assert show(argument, status=2).startswith(f"seqtrain: error: {message}")


def test_a_file_that_raises_is_named(show: Show, folder: Path) -> None:
    file = write(folder / "user_plugins/bad.py", WIDGET.replace('"widget"', '"bad"') + "\nint('x')\n")
    assert show("model=bad", status=2).startswith(f"seqtrain: error: the plug-in file {file}:19 cannot be imported: ")
