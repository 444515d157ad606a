"""A wheel holds all that the checkout needs, and works from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.shared import CHECKOUT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of a wheel built from the checkout, as pip unpacks it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site-packages")
    return folder / "site-packages"


def test_every_config_is_in_the_wheel(installed: Path) -> None:
    configs = {path.relative_to(CHECKOUT / "conf") for path in (CHECKOUT / "conf").rglob("*.yaml")}
    assert {path.relative_to(installed / "seqtrain/conf") for path in installed.rglob("*.yaml")} == configs


def test_the_sources_of_the_kernels_are_in_the_wheel(installed: Path) -> None:
    folder = Path("seqtrain/nn/native")
    sources = {path.name for path in (CHECKOUT / folder).iterdir() if path.suffix in {".cpp", ".h"}}
    assert {"decoding.cpp", "numbers.h", "training.cpp"} <= sources
    assert sources <= {path.name for path in (installed / folder).iterdir()}


def test_nothing_but_the_package_is_in_the_wheel(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"seqtrain"}


def test_the_wheel_says_that_it_is_typed(installed: Path) -> None:
    assert (installed / "seqtrain/py.typed").is_file()


def test_an_installed_command_composes_from_any_folder(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "seqtrain.train", "--cfg", "job", "experiment=demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "data: demo:numbers" in done.stdout


@pytest.mark.parametrize(
    "name", ["train", "preprocess", "generate", "interactive", "evaluate", "average", "plugins", "verify", "convert"]
)
def test_each_command_has_a_console_script(installed: Path, name: str) -> None:
    (scripts,) = installed.glob("*.dist-info/entry_points.txt")
    assert f"seqtrain-{name} = seqtrain.{name}:main" in scripts.read_text(encoding="utf-8")
