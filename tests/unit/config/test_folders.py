"""Folders of plug-ins: what they hold, without Hydra."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seqtrain.config.folders import PluginFolders, active_folders, default_folders, named_folder
from seqtrain.errors import PluginError
from tests.shared import CHECKOUT

PLUGIN = "register_model({name!r}, Config)\n"


def make(folder: Path, *names: str) -> Path:
    """A folder with a file for each name of a model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.py").write_text(PLUGIN.format(name=name))
    return folder


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def test_files_and_packages_count_and_nothing_deeper(work: Path) -> None:
    make(work / "f", "b", "a")
    make(work / "f/package", "__init__", "c")
    make(work / "f/package/inner", "__init__")
    make(work / "f/no_package", "d")
    make(work / "f", "version.1")
    folder = named_folder("f", "test")
    assert [str(file.relative_to(work / "f")) for file in folder.files] == [
        "a.py",
        "b.py",
        "package/__init__.py",
        "package/c.py",
        "package/inner/__init__.py",
    ]


def test_presets_are_in_conf_or_in_a_folder_without_python(work: Path) -> None:
    make(work / "both", "a")
    (work / "both/conf/model").mkdir(parents=True)
    (work / "both/conf/model/big.yaml").touch()
    assert named_folder("both", "test").preset("model/big") == work / "both/conf/model/big.yaml"
    assert named_folder("both", "test").preset("model/small") is None
    assert named_folder("both/conf", "test") == named_folder("both", "test")
    make(work / "python", "a")
    assert named_folder("python", "test").presets is None
    (work / "yaml").mkdir()
    assert named_folder("yaml", "test").presets == work / "yaml"


def test_conf_means_its_folder_where_only_packages_stand_beside_it(work: Path) -> None:
    make(work / "f/package", "__init__", "a")
    (work / "f/conf").mkdir()
    assert named_folder("f/conf", "test") == named_folder("f", "test")


def test_a_file_that_cannot_be_read_harms_no_other(work: Path) -> None:
    make(work / "f", "a")
    (work / "f/gone.py").symlink_to("nowhere.py")
    (work / "f/folder.py").mkdir()
    folders = PluginFolders([named_folder("f", "test")])
    assert folders.names("model") == ["a"]
    assert folders.broken() == []


def test_a_home_folder_is_written_with_a_tilde(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(work))
    make(work / "mine", "a")
    assert named_folder("~/mine", "test").path == work / "mine"


def test_a_folder_that_is_not_there_is_an_error(work: Path) -> None:
    with pytest.raises(PluginError, match=f"test names a folder that is not there: gone; looked in {work} and "):
        named_folder("gone", "test")
    with pytest.raises(PluginError, match=r"test names a folder that is not there: /gone$"):
        named_folder("/gone", "test")


def test_names_are_those_of_all_folders(work: Path) -> None:
    make(work / "f", "b", "a")
    make(work / "g", "c")
    folders = PluginFolders([named_folder("f", "test"), named_folder("g", "test")])
    assert folders.names("model") == ["a", "b", "c"]
    assert folders.names("task") == []
    assert folders.broken() == []


def test_a_folder_that_is_named_is_no_default_any_more(work: Path) -> None:
    make(work / "user_plugins", "a")
    folders = default_folders()
    (folder,) = (folder for folder in folders if folder.path == work / "user_plugins")
    assert folder.is_default
    folders.add(named_folder("user_plugins", "test"))
    (folder,) = (folder for folder in folders if folder.path == work / "user_plugins")
    assert not folder.is_default


def test_the_checkouts_own_plugins_serve_where_there_are_no_others(work: Path) -> None:
    assert [folder.path for folder in active_folders()] == [CHECKOUT / "user_plugins"]
    make(work / "user_plugins", "a")
    assert [folder.path for folder in active_folders()] == [work / "user_plugins"]


def test_the_environment_names_several_folders(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(work / "f", "a")
    make(work / "g", "b")
    monkeypatch.setenv("SEQTRAIN_USER_DIR", os.pathsep.join(["f", "", str(work / "g")]))
    named = [folder.path for folder in default_folders() if folder.named_by == "SEQTRAIN_USER_DIR"]
    assert named == [work / "f", work / "g"]


def test_a_file_that_does_not_register_what_it_says_is_an_error(work: Path) -> None:
    (work / "f").mkdir()
    (work / "f/a.py").write_text("if False:\n    register_model('a', Config)\n")
    with pytest.raises(PluginError, match=r"a\.py:2 was imported, but did not register model=a"):
        PluginFolders([named_folder("f", "test")]).resolve("model/a")


def test_an_error_of_a_file_stays_the_same_until_the_file_changes(work: Path) -> None:
    make(work / "f", "a")
    folders = PluginFolders([named_folder("f", "test")])
    messages = []
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            folders.resolve("model/a")
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "a.py:1 cannot be imported: NameError: name 'register_model' is not defined" in messages[0]
    assert folders.broken() == [messages[0].splitlines()[0]]
    (work / "f/a.py").write_text("if False:\n    register_model('a', Config)\n")
    os.utime(work / "f/a.py", ns=(1, 1))
    with pytest.raises(PluginError, match="did not register"):
        PluginFolders([named_folder("f", "test")]).resolve("model/a")
