"""What a person may ask for, and what the answer is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from seqtrain.errors import ConfigError
from seqtrain.verification import resume
from seqtrain.verification.comparison import Finding
from seqtrain.verification.resume import (
    NOT_REPEATABLE,
    NOT_SAVED,
    OTHER_BATCHES,
    SAME_WEIGHTS,
    Options,
    Outcome,
    parse,
)
from seqtrain.verification.runs import Interruption, Runs


def test_flags_and_overrides_may_stand_in_any_order() -> None:
    options = parse(["experiment=demo", "--updates", "30", "~task.cache", "--signal", "term", "model=my_lstm"])
    assert options == Options(30, 12, signal.SIGTERM, None, ["experiment=demo", "~task.cache", "model=my_lstm"])


def test_without_flags_a_run_of_20_updates_is_killed_at_8() -> None:
    assert parse(["--keep", "runs"]) == Options(20, 8, signal.SIGKILL, Path("runs"), [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kill-at", "20"], "--kill-at 20 must be at least 1 and less than --updates 20"),
        (["--updates", "1"], "--kill-at 1 must be at least 1 and less than --updates 1"),
        (["--updates", "many"], "argument --updates: invalid int value: 'many'"),
        (["--signal", "hup"], "argument --signal: invalid choice: 'hup'"),
        (["--multirun"], "unrecognized arguments: --multirun"),
        (["demo"], "'demo' is neither a flag nor an override"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(arguments)
    assert str(raised.value).startswith(message)


def finding(is_equal: bool) -> Finding:
    return Finding("update 8", "model.safetensors", is_equal, "")


@pytest.mark.parametrize(
    ("equal", "verdict"),
    [
        ("batches metrics before after", "exact: the run that was interrupted is the same to the bit"),
        ("batches before after", SAME_WEIGHTS),
        ("batches before", NOT_SAVED),
        ("before", OTHER_BATCHES),
        ("", NOT_REPEATABLE),
    ],
)
def test_the_verdict_tells_where_to_look(equal: str, verdict: str) -> None:
    batches, metrics, before, after = (finding(name in equal) for name in ("batches", "metrics", "before", "after"))
    outcome = Outcome(batches, metrics, [before], [after])
    assert outcome.verdict == verdict
    assert outcome.is_exact == verdict.startswith("exact")


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="there is something already"):
        resume.run(["--keep", str(tmp_path)])


def test_what_verify_sets_stands_behind_what_a_person_sets(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "it's", ["training.max_updates=9"], Interruption(20, 8, signal.SIGKILL))
    words = runs._command(runs.whole)
    assert words.index("training.max_updates=9") < words.index("training.max_updates=20")
    assert f"hydra.run.dir='{tmp_path}/it\\'s/whole'" in words
