"""The packages of folders."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from seqtrain.config import modules
from tests.shared import CHECKOUT


@pytest.mark.parametrize("path", ["/home/me/my_plugins", "/a.b/c.d", "/50%/x", "/%2E/y z", "/ä/ö"])
def test_the_name_of_a_package_tells_its_folder(path: str) -> None:
    name = modules.package_of(Path(path))
    assert name.count(".") == modules.__name__.count(".") + 1
    assert modules.folder_of(name) == Path(path)
    assert modules.folder_of(f"{name}.inner.module") == Path(path)


def test_other_modules_belong_to_no_folder() -> None:
    assert modules.folder_of("seqtrain.models.transformer") is None


def test_a_file_is_named_by_its_place_in_the_folder() -> None:
    folder = Path("/f")
    assert modules.module_name(Path("/f/a.py"), folder, "p") == "p.a"
    assert modules.module_name(Path("/f/b/c.py"), folder, "p") == "p.b.c"
    assert modules.module_name(Path("/f/b/__init__.py"), folder, "p") == "p.b"
    assert modules.module_name(Path("/f/__init__.py"), folder, "p") == "p"


def test_a_folder_is_a_package_with_relative_imports(tmp_path: Path) -> None:
    folder = tmp_path / "v1.2"
    folder.mkdir()
    (folder / "constants.py").write_text("ANSWER = 42\n")
    (folder / "plugin.py").write_text("from .constants import ANSWER\n")
    plugin = importlib.import_module(f"{modules.package_of(folder)}.plugin")
    assert plugin.ANSWER == 42


def test_the_init_file_of_a_folder_is_run(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("ANSWER = 42\n")
    assert importlib.import_module(modules.package_of(tmp_path)).ANSWER == 42


def test_a_folder_that_is_not_there_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(modules.package_of(tmp_path / "gone"))


def test_another_process_finds_a_module_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("ANSWER = 42\n")
    script = "import importlib, sys; print(importlib.import_module(sys.argv[1]).ANSWER)"
    name = f"{modules.package_of(tmp_path)}.plugin"
    done = subprocess.run(
        [sys.executable, "-c", script, name], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "42\n"
