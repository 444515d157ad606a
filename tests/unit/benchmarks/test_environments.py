"""The requirements of the peers' environments; none is made here."""

from __future__ import annotations

import pytest

from benchmarks.harness import environments


@pytest.mark.parametrize("name", environments.peers())
def test_every_requirement_is_pinned(name: str) -> None:
    lines = (environments.REQUIREMENTS / f"{name}.txt").read_text().split()
    assert [line for line in lines if line.count("==") != 1] == []


@pytest.mark.parametrize("name", ["joeynmt", "eole", "transformers"])
def test_torch_is_installed_before_the_peer(name: str) -> None:
    lines = (environments.REQUIREMENTS / f"{name}.txt").read_text().split()
    assert lines[0] == "torch==2.13.0"
    assert name in {line.split("==")[0] for line in lines[1:]}


def test_an_unknown_peer_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SystemExit, match=r"There is no environment joey: .* joeynmt"):
        environments.python("joey")
