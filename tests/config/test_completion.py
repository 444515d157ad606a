"""Tab completion, asked as the shells ask: the line in COMP_LINE, the answer on standard output."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import RunCommand
from tests.config.files import write_widget


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("seqtrain-train model=widg", ["model=widget", "model=widget_big"]),
        ("seqtrain-train task.data=x -m --check model=widg", ["model=widget", "model=widget_big"]),
        ("seqtrain-train model=widget_big model.s", ["model.size="]),
        ("seqtrain-train optimizer.l", ["optimizer.lr="]),
        ("seqtrain-train lr_s", ["lr_scheduler.", "lr_scheduler="]),
        ("seqtrain-train 'model=nope model.s", []),
        ("seqtrain-train --nope model=widg", []),
    ],
)
def test_tab_offers_what_can_follow(
    run: RunCommand, folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: list[str]
) -> None:
    write_widget(folder / "user_plugins")
    monkeypatch.setenv("COMP_LINE", line)
    outcome = run("-sc", "query=bash")
    assert sorted(outcome.out.split()) == expected
    assert (outcome.status, outcome.err) == (0, "")


def test_the_shell_learns_how_to_ask(run: RunCommand) -> None:
    assert "hydra_bash_completion seqtrain-train" in run("-sc", "install=bash").out
