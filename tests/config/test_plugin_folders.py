"""Folders of user plug-ins: how they are named, what they serve, and what happens where they disagree."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqtrain.config import registry
from seqtrain.config.check import typed
from seqtrain.config.root import TrainConfig
from seqtrain.errors import PluginError
from tests.config.conftest import RunCommand
from tests.config.files import WIDGET, write, write_widget
from tests.shared import CHECKOUT

SEARCH_PATH = "hydra.searchpath=[file://my_plugins]"


def test_the_search_path_serves_python_and_presets(run: RunCommand, folder: Path) -> None:
    write_widget(folder / "my_plugins")
    assert run(SEARCH_PATH, "task.data=x", "model=widget").config.model.size == 3
    outcome = run(SEARCH_PATH, "task.data=x", "model=widget_big")
    assert (type(outcome.config.model).__name__, outcome.config.model.size) == ("WidgetConfig", 12)
    assert outcome.job.plugin_folders == [str(folder / "my_plugins")]


@pytest.mark.parametrize("written", ["my_plugins", "file://my_plugins/conf", "file://{folder}/my_plugins/"])
def test_a_folder_can_be_named_in_several_ways(run: RunCommand, folder: Path, written: str) -> None:
    write_widget(folder / "my_plugins")
    path = written.format(folder=folder)
    assert run(f"hydra.searchpath=[{path}]", "task.data=x", "model=widget_big").config.model.size == 12


def test_a_relative_folder_is_looked_for_in_the_checkout_too(run: RunCommand) -> None:
    outcome = run("hydra.searchpath=[file://user_plugins]", "task.data=x", "lr_scheduler=my_trapezoid")
    assert outcome.job.plugin_folders == [str(CHECKOUT / "user_plugins")]


def test_a_folder_of_presets_alone_is_served(run: RunCommand, folder: Path) -> None:
    write(folder / "presets/optimizer/fast.yaml", "defaults: [adam, _self_]\nlr: 0.25\n")
    assert run("hydra.searchpath=[presets]", "task.data=x", "optimizer=fast").config.optimizer.lr == 0.25


def test_help_names_the_options_of_folders(run: RunCommand, folder: Path) -> None:
    write_widget(folder / "user_plugins")
    outcome = run("--help")
    (models,) = (line for line in outcome.out.splitlines() if line.startswith("model: "))
    assert {"transformer", "widget", "widget_big"} <= set(models.removeprefix("model: ").split(", "))


def test_a_sweep_over_a_pattern_finds_the_options_of_folders(run: RunCommand, folder: Path) -> None:
    write_widget(folder / "user_plugins")
    outcome = run("-m", "model=glob(widget*)", "task.data=x")
    assert [config.model.size for config, _ in outcome.runs] == [3, 12]


def test_the_environment_and_the_search_path_add_up(
    run: RunCommand, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_widget(folder / "named")
    write(folder / "searched/conf/optimizer/fast.yaml", "defaults: [adam, _self_]\nlr: 0.25\n")
    monkeypatch.setenv("SEQTRAIN_USER_DIR", os.pathsep.join([str(folder / "named")]))
    outcome = run("hydra.searchpath=[searched]", "task.data=x", "model=widget_big", "optimizer=fast")
    assert (outcome.config.model.size, outcome.config.optimizer.lr) == (12, 0.25)


def test_a_primary_config_can_name_folders(run: RunCommand, folder: Path) -> None:
    write_widget(folder / "my_plugins")
    write(
        folder / "user_plugins/conf/mine.yaml", "defaults: [train, _self_]\nhydra: {searchpath: [file://my_plugins]}\n"
    )
    assert run("-cn", "mine", "task.data=x", "model=widget").config.model.size == 3


@pytest.mark.parametrize("variable", ["", "SEQTRAIN_USER_DIR"])
def test_a_named_folder_that_is_not_there_is_an_error(
    run: RunCommand, folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    if variable:
        monkeypatch.setenv(variable, "gone")
    outcome = run("--help") if variable else run("hydra.searchpath=[file://gone]", "task.data=x")
    named_by = variable or "hydra.searchpath"
    looked = f"looked in {folder} and {CHECKOUT}"
    assert outcome.err == f"seqtrain: error: {named_by} names a folder that is not there: gone; {looked}\n"
    assert outcome.status == 2


def test_a_file_that_no_one_asks_for_is_not_imported(run: RunCommand, folder: Path) -> None:
    write_widget(folder / "user_plugins")
    write(folder / "user_plugins/slow.py", WIDGET.replace('"widget"', '"slow"') + "\nraise SystemExit('imported')\n")
    assert run("task.data=x", "model=widget").status == 0
    assert "slow" in run("--help").out


def test_a_file_that_raises_is_named_with_its_line_where_it_is_asked_for(run: RunCommand, folder: Path) -> None:
    file = write(folder / "user_plugins/bad.py", WIDGET.replace('"widget"', '"bad"') + "\nint('x')\n")
    line = len(file.read_text().splitlines())
    outcome = run("task.data=x", "model=bad")
    assert outcome.err == (
        f"seqtrain: error: the plug-in file {file}:{line} cannot be imported: "
        "ValueError: invalid literal for int() with base 10: 'x'\nmend the file, or take it out of the folder\n"
    )
    assert outcome.status == 2
    assert registry.find("model", "bad") is None
    assert run("task.data=x").status == 0


def test_a_file_that_does_not_parse_breaks_no_other_run_and_is_named_for_an_unknown_name(
    run: RunCommand, folder: Path
) -> None:
    write_widget(folder / "user_plugins")
    file = write(folder / "user_plugins/bad.py", "register_model('bad', BadConfig)\ndef f(:\n")
    assert run("task.data=x", "model=widget").status == 0
    outcome = run("task.data=x", "model=bad")
    first, second = outcome.err.splitlines()[:2]
    assert first.startswith("seqtrain: error: no model is called 'bad'; there are: transformer, ")
    assert second == f"the plug-in file {file}:2: SyntaxError: invalid syntax"


def test_an_error_inside_what_a_plugin_imports_is_named_where_it_is(run: RunCommand, folder: Path) -> None:
    write_widget(folder / "user_plugins")
    helper = write(folder / "user_plugins/helper.py", "x = 1\nraise RuntimeError('no licence')\n")
    file = folder / "user_plugins/widget.py"
    file.write_text("from . import helper\n" + file.read_text())
    message = f"the plug-in file {helper}:2 cannot be imported: RuntimeError: no licence"
    assert run("task.data=x", "model=widget").err.splitlines()[0] == f"seqtrain: error: {message}"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            WIDGET.replace("@dataclass(kw_only=True)\n", ""),
            "model=widget ({file}:14): its schema WidgetConfig is not a dataclass\n"
            "write @dataclass(kw_only=True) above class WidgetConfig\n",
        ),
        (
            WIDGET.replace("(ModelConfig)", ""),
            "model=widget ({file}:15): its schema WidgetConfig does not derive from ModelConfig\n"
            "class WidgetConfig(ModelConfig):\n",
        ),
        (
            WIDGET.replace("size: int", "keys: int"),
            "model=widget ({file}:15): a field cannot be called 'keys', which is a method of every config node\n"
            "rename the field keys of WidgetConfig\n",
        ),
        (
            WIDGET.replace("size: int = 3", "size: complex = 3j"),
            "model=widget ({file}:15): its schema cannot hold settings: Unexpected type annotation: complex\n"
            "use bool, int, float, str, enums, lists, dicts and dataclasses of these, and `| None`\n",
        ),
        (
            WIDGET + "\nregister_model('another', WidgetConfig)(Widget)\n",
            "model=another ({file}:19): its schema WidgetConfig belongs to model=widget ({file}:15)\n"
            "give each plug-in a schema of its own (a subclass will do)\n",
        ),
    ],
    ids=["no dataclass", "wrong base", "reserved field", "odd type", "schema twice"],
)
def test_a_plugin_that_cannot_be_registered_says_why(run: RunCommand, folder: Path, broken: str, message: str) -> None:
    file = write(folder / "user_plugins/widget.py", broken)
    outcome = run("task.data=x", "model=widget")
    assert outcome.err == f"seqtrain: error: {message}".replace("{file}", str(file))
    assert outcome.status == 2


def test_a_copy_that_is_named_wins_over_the_default_folder(run: RunCommand, folder: Path) -> None:
    write_widget(folder / "user_plugins", "default", size_of_big=5)
    write(folder / "user_plugins/conf/model/widget_tiny.yaml", "defaults: [widget, _self_]\nsize: 1\n")
    write_widget(folder / "my_plugins", "copy", size_of_big=7)
    outcome = run(SEARCH_PATH, "task.data=x", "model=widget_big")
    assert outcome.config.model.size == 7
    assert outcome.job.plugin_folders == [str(folder / "my_plugins")]
    assert run(SEARCH_PATH, "task.data=x", "model=widget_tiny").config.model.size == 1


def test_two_named_folders_with_one_name_are_an_error_where_it_is_asked_for(run: RunCommand, folder: Path) -> None:
    first, second = write_widget(folder / "first"), write_widget(folder / "second")
    both = "hydra.searchpath=[first,second]"
    assert run(both, "task.data=x").status == 0
    outcome = run(both, "task.data=x", "model=widget")
    assert outcome.err == (
        f"seqtrain: error: there are 2 of model=widget: {first}/widget.py:15 and {second}/widget.py:15\n"
        "rename all but one of them\n"
    )
    assert outcome.status == 2


def test_a_plugin_called_like_a_built_in_is_an_error_where_it_is_asked_for(run: RunCommand, folder: Path) -> None:
    file = write(folder / "user_plugins/widget.py", WIDGET.replace('"widget"', '"transformer"'))
    assert run("task.data=x", "model=transformer_lm").status == 0
    outcome = run("task.data=x")
    places = f"{registry.get('model', 'transformer').origin} and {file}:15"
    assert outcome.err.splitlines()[0] == f"seqtrain: error: there are 2 of model=transformer: {places}"


def test_a_preset_called_like_a_built_in_one_is_an_error_where_it_is_asked_for(run: RunCommand, folder: Path) -> None:
    file = write(folder / "user_plugins/conf/optimizer/adamw_gpt.yaml", "defaults: [adam, _self_]\n")
    outcome = run("task.data=x", "optimizer=adamw_gpt")
    places = f"{CHECKOUT}/conf/optimizer/adamw_gpt.yaml and {file}"
    assert outcome.err.splitlines()[0] == f"seqtrain: error: there are 2 of optimizer=adamw_gpt: {places}"


def test_a_preset_called_like_its_own_plugin_is_an_error_where_it_is_asked_for(run: RunCommand, folder: Path) -> None:
    write_widget(folder / "user_plugins")
    preset = write(folder / "user_plugins/conf/model/widget.yaml", "defaults: [widget, _self_]\n")
    outcome = run("task.data=x", "model=widget")
    places = f"{preset} and {folder}/user_plugins/widget.py:15"
    assert outcome.err.splitlines()[0] == f"seqtrain: error: there are 2 of model=widget: {places}"


def test_a_plugin_can_be_a_package_with_imports_of_its_own(run: RunCommand, folder: Path) -> None:
    package = folder / "my_plugins/widgets"
    write(package / "__init__.py", "from .schema import WidgetConfig\n")
    write(package / "schema.py", WIDGET.replace("\n@register_model", "\nregister_model").partition("class Widget:")[0])
    text = (package / "schema.py").read_text()
    (package / "schema.py").write_text(text.replace(", WidgetConfig)", ', WidgetConfig, at=".deep.model:Widget")'))
    write(package / "deep/__init__.py", "")
    write(package / "deep/model.py", "from ..parts import SIZE\n\nclass Widget:\n    size = SIZE\n")
    write(package / "parts.py", "SIZE = 42\n")
    assert run(SEARCH_PATH, "task.data=x", "model=widget").status == 0
    built: object = registry.get("model", "widget").load()
    assert getattr(built, "size", None) == 42


def test_a_name_that_is_computed_is_found_by_importing_its_file(run: RunCommand, folder: Path) -> None:
    computed = WIDGET.replace('@register_model("widget"', '@register_model("wid" + "get"')
    write(folder / "user_plugins/widget.py", computed)
    assert "widget" in run("--help").out
    assert run("task.data=x", "model=widget").config.model.size == 3


def test_folders_of_one_name_are_different_packages_and_leave_the_import_path_alone(
    run: RunCommand, folder: Path
) -> None:
    paths = sys.path[:]
    write_widget(folder / "a/plugins", "a")
    text = WIDGET.replace('"widget"', '"gadget"').replace("WidgetConfig", "GadgetConfig").replace("{origin}", "b")
    write(folder / "b/plugins/widget.py", text)
    both = "hydra.searchpath=[a/plugins,b/plugins]"
    assert run(both, "task.data=x", "model=widget").status == 0
    assert run(both, "task.data=x", "model=gadget").status == 0
    built = [registry.get("model", name).load() for name in ("widget", "gadget")]
    assert [getattr(model, "origin", None) for model in built] == ["a", "b"]
    assert sys.path == paths


@pytest.fixture
def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, one of which has the entry point acme = acme_widgets."""
    site = folder / "site"
    metadata = site / "acme_widgets-1.0.dist-info"
    write(metadata / "METADATA", "Metadata-Version: 2.1\nName: acme-widgets\nVersion: 1.0\n")
    write(metadata / "entry_points.txt", "[seqtrain.plugins]\nacme = acme_widgets\n")
    monkeypatch.syspath_prepend(site)
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_widgets"]:
        del sys.modules[name]


def test_an_installed_package_is_found_by_its_entry_point(run: RunCommand, install: Path) -> None:
    write_widget(install / "acme_widgets")
    write(install / "acme_widgets/__init__.py", "")
    outcome = run("task.data=x", "model=widget_big")
    assert outcome.config.model.size == 12
    assert type(outcome.config.model).__module__ == "acme_widgets.widget"
    assert outcome.job.plugin_folders == []


def test_an_installed_module_is_found_by_its_entry_point(run: RunCommand, install: Path) -> None:
    write(install / "acme_widgets.py", WIDGET)
    write(install / "unrelated.py", WIDGET.replace('"widget"', '"gadget"'))
    assert type(run("task.data=x", "model=widget").config.model).__module__ == "acme_widgets"
    assert "no model is called 'gadget'" in run("task.data=x", "model=gadget").err


def test_an_entry_point_without_its_module_is_an_error(run: RunCommand, install: Path) -> None:
    assert install.is_dir()
    assert run("task.data=x").err == (
        "seqtrain: error: the entry point acme names a module that is not there: acme_widgets\nreinstall its package\n"
    )


def test_plain_python_finds_the_plugin_of_a_saved_config(folder: Path) -> None:
    write_widget(folder / "user_plugins")
    parts = {"task": {"_name": "translation", "data": "x"}, "model": {"_name": "widget", "size": 8}}
    others = {"criterion": "cross_entropy", "optimizer": "adam", "lr_scheduler": "fixed"}
    config = typed(TrainConfig, {**parts, **{kind: {"_name": name} for kind, name in others.items()}})
    assert config.model.size == 8


@pytest.mark.usefixtures("folder")
def test_plain_python_says_how_to_find_the_plugin_of_a_saved_config() -> None:
    with pytest.raises(PluginError) as caught:
        typed(TrainConfig, {"model": {"_name": "widget"}})
    assert str(caught.value) == (
        "no model is called 'widget'; there are: my_lstm, transformer, transformer_lm\n"
        "name the folder of its plug-in: hydra.searchpath=[file://FOLDER]"
    )
