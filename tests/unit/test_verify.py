"""The words of `python -m seqtrain.verify`."""

from __future__ import annotations

import sys

import pytest

from seqtrain import verify


@pytest.mark.parametrize(
    ("arguments", "overrides"),
    [
        (["my text"], ["task.data='my text'"]),
        (["it's", "--json"], ["task.data='it\\'s'", "json=true"]),
        (["--json", "text", "--cfg", "job"], ["task.data='text'", "--cfg", "job", "json=true"]),
        (["task.data=text", "--cfg", "job"], ["task.data=text", "--cfg", "job"]),
    ],
)
def test_a_folder_is_the_data_of_the_task(arguments: list[str], overrides: list[str]) -> None:
    assert verify.data_overrides(arguments) == overrides


def test_without_a_word_the_words_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["seqtrain-verify"])
    verify.main()
    shown = capsys.readouterr().out
    assert all(f"\n  {word} " in shown for word in ("resume", "checkpoint", "data"))


def test_an_unknown_word_is_told_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["seqtrain-verify", "checkpont"])
    with pytest.raises(SystemExit) as left:
        verify.main()
    assert left.value.code == 2
    assert capsys.readouterr().err == (
        "seqtrain: error: unknown word 'checkpont'; there are resume, checkpoint, data\ndid you mean checkpoint?\n"
    )
