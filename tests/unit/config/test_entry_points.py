"""Where plug-ins of installed packages are looked for."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from seqtrain.config.entry_points import installed_entry_points


def write_package(folder: Path, entry_points: str) -> Path:
    metadata = folder / "acme-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    return folder


def test_the_entry_points_of_the_group_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_package(
        tmp_path, "[console_scripts]\nacme = acme:main\n\n[seqtrain.plugins]\nwidgets = acme.widgets\n"
    )
    monkeypatch.syspath_prepend(folder)
    (point,) = installed_entry_points(sys.path)
    assert (point.name, point.module) == ("widgets", "acme.widgets")


def test_a_program_of_that_name_is_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_package(tmp_path, "[console_scripts]\nseqtrain-plugins = seqtrain.plugins:main\n")
    monkeypatch.syspath_prepend(folder)
    assert installed_entry_points(sys.path) == ()


def test_a_package_in_a_zip_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_package(tmp_path / "files", "[seqtrain.plugins]\nwidgets = acme\n")
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*"):
            if path.is_file():
                file.write(path, path.relative_to(folder))
    monkeypatch.syspath_prepend(archive)
    assert [point.name for point in installed_entry_points(sys.path)] == ["widgets"]


def test_without_any_the_slow_reader_of_packages_is_not_imported(tmp_path: Path) -> None:
    write_package(tmp_path, "[console_scripts]\nacme = acme:main\n")
    script = (
        "import sys\nfrom seqtrain.config.entry_points import installed_entry_points\n"
        f"assert installed_entry_points([{str(tmp_path)!r}, 'not there', '']) == ()\n"
        "assert 'importlib.metadata' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
