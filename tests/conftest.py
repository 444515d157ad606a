"""What all tests share: one thread a process, an environment without the user's own settings, the choice of device."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported anywhere: tests run side by side, and one thread makes sums repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

pytest_plugins = ["tests.faults.plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--device cuda` runs the tests marked gpu too."""
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="cuda runs the tests marked gpu too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests marked gpu unless a GPU was asked for."""
    if config.getoption("--device") == "cuda":
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs --device cuda"))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No user plug-ins but the checkout's, and a cache of the test session's own."""
    for name in list(os.environ):
        if name.startswith(("SEQTRAIN_", "HYDRA_")):
            monkeypatch.delenv(name)
    cache: Path = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
