"""The command line: flags and overrides in any order."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqtrain.config.arguments import CommandLine, completion_line, parse_arguments
from seqtrain.errors import ConfigError


@pytest.mark.parametrize(
    ("line", "flags", "rerun", "hydra"),
    [
        ("a=1 -m b=2", set(), None, "-m a=1 b=2"),
        ("a=1 --check ~b", {"check"}, None, "a=1 ~b"),
        ("--rerun DIR a=1", {"rerun"}, "DIR", "a=1"),
        ("a=1 --rerun=DIR --resume", {"rerun", "resume"}, "DIR", "a=1"),
        ("a=1 --cfg job b=2 -p optimizer", set(), None, "--cfg job -p optimizer a=1 b=2"),
        ("--cfg=job a=1", set(), None, "--cfg job a=1"),
        ("--info a=1", set(), None, "--info a=1"),
        ("a=1 --info defaults b=2", set(), None, "--info defaults a=1 b=2"),
        ("--info=defaults", set(), None, "--info defaults"),
        ("--info --resolve", set(), None, "--info --resolve"),
        ("+a=1 ++b=2 hydra/launcher=joblib", set(), None, "+a=1 ++b=2 hydra/launcher=joblib"),
        ("-cp /etc -cn mine", set(), None, "-cp /etc -cn mine"),
    ],
)
def test_flags_are_sorted_from_overrides(line: str, flags: set[str], rerun: str | None, hydra: str) -> None:
    expected = CommandLine(frozenset(flags), Path(rerun) if rerun else None, hydra.split())
    assert parse_arguments(line.split()) == expected


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("a=1", set()),
        ("--allow-changes a=1", {"*"}),
        ("--allow-changes=optimizer.lr a=1", {"optimizer.lr"}),
        ("--allow-changes=optimizer.lr,model.* --resume", {"optimizer.lr", "model.*"}),
        ("--allow-changes=a --allow-changes=b", {"a", "b"}),
    ],
)
def test_the_keys_that_may_change_are_named_or_are_all(line: str, allowed: set[str]) -> None:
    assert parse_arguments(line.split()).allowed_changes == allowed


def test_a_config_path_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_arguments(["-cp", "mine"]).hydra == ["-cp", str(tmp_path / "mine")]
    assert parse_arguments(["-cp", "pkg://acme.conf"]).hydra == ["-cp", "pkg://acme.conf"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--experimental-rerun x.pickle", "unknown flag --experimental-rerun"),
        ("--rerunn=x", "unknown flag --rerunn\ndid you mean --rerun or --run or --resume?"),
        ("--rerun -m", "--rerun needs a value"),
        ("--package", "--package needs a value"),
        (
            "--allow-changes=",
            "--allow-changes needs a value\nwrite --allow-changes=KEY,KEY, or --allow-changes for all",
        ),
        (
            "--resume --allow-changes",
            "--resume looks for a run of the same config, and --allow-changes would take any\n"
            "name the keys that may differ: --allow-changes=KEY,KEY",
        ),
        ("--info everything", "--info takes all, config, defaults, defaults-tree, plugins, searchpath, "),
        ("word", "'word' is neither a flag nor an override\nwrite key=value, or group=option"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_arguments(line.split())
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("seqtrain-train mod", "seqtrain-train mod"),
        ("seqtrain-train a=1 -m mod", "seqtrain-train -m a=1 mod"),
        ("seqtrain-train --check a=1 ", "seqtrain-train a=1 "),
        ("seqtrain-train", "seqtrain-train "),
        ("seqtrain-train --nope mod", "seqtrain-train --nope mod"),
    ],
)
def test_a_line_at_a_press_of_tab_is_put_as_hydra_reads_it(line: str, expected: str) -> None:
    assert completion_line(line) == expected


def test_shells_ask_with_a_flag() -> None:
    assert parse_arguments(["-sc", "query=bash"]).is_completion
    assert not parse_arguments(["-m"]).is_completion
