"""The small parallel text as a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tasks.corpus import ENGLISH, GERMAN, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    write(folder, "train")
    write(folder, "valid", ENGLISH[:2], GERMAN[:2])
    return folder
