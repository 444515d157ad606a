"""Which process this is."""

from __future__ import annotations

import pytest

from seqtrain.config.ranks import Rank, this_rank
from seqtrain.errors import ConfigError


def test_a_process_that_nobody_numbered_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert this_rank() == Rank(0, 1, 0)
    assert this_rank().is_first


@pytest.mark.parametrize(
    ("rank", "world_size", "message"),
    [
        ("2", "2", "RANK=2 WORLD_SIZE=2 LOCAL_RANK=0: RANK must be below WORLD_SIZE"),
        ("one", "2", "RANK=one WORLD_SIZE=2 LOCAL_RANK=0: these environment variables must be numbers"),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    monkeypatch: pytest.MonkeyPatch, rank: str, world_size: str, message: str
) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", world_size), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as raised:
        this_rank()
    assert str(raised.value).splitlines()[0] == message
