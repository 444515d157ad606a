"""The plug-ins of a file, read from its syntax tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seqtrain.config.declarations import Declaration, read_declarations


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A plug-in file to write."""
    return tmp_path / "plugin.py"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("@register_model('a', AConfig)\nclass A: ...", [("model", "a", 1)]),
        ("\nregister_task('a', AConfig, at='.m:A')", [("task", "a", 2)]),
        ("register_criterion(name='a', schema=AConfig)(build)", [("criterion", "a", 1)]),
        ("import seqtrain.models as m\n@m.register_model('a', A)\nclass X: ...", [("model", "a", 2)]),
        ("from seqtrain.models import register_model as reg\nreg('a', A)(X)", [("model", "a", 2)]),
        (
            "if True:\n  register_optimizer('a', A)\n  register_lr_scheduler('b', B)",
            [("optimizer", "a", 2), ("lr_scheduler", "b", 3)],
        ),
        ("register_something('a', A)", []),
        ("def register_model(): ...", []),
        ("x = 1", []),
    ],
)
def test_names_are_read_from_calls_and_decorators(file: Path, source: str, found: list[tuple[str, str, int]]) -> None:
    file.write_text(source)
    contents = read_declarations(file)
    assert [(one.kind, one.name, one.line) for one in contents.declarations] == found
    assert not contents.is_dynamic
    assert contents.error is None


@pytest.mark.parametrize("call", ["register_model(NAME, A)", "register_model('a' + 'b', A)", "register_model()"])
def test_a_name_that_is_not_written_out_is_noted(file: Path, call: str) -> None:
    file.write_text(f"{call}\nregister_model('b', B)\n")
    contents = read_declarations(file)
    assert contents.is_dynamic
    assert [one.name for one in contents.declarations] == ["b"]


def test_the_docstring_of_the_schema_says_what_it_is(file: Path) -> None:
    file.write_text('class AConfig:\n    """What it is.\n\n    More.\n    """\nregister_model("a", AConfig)(X)\n')
    assert read_declarations(file).declarations == (Declaration("model", "a", file, 6, "What it is."),)


@pytest.mark.parametrize(
    ("source", "error"), [("register_\ndef f(:", "2: SyntaxError: invalid syntax"), ("register_\0", "1: ")]
)
def test_a_file_that_does_not_parse_is_an_error_with_its_line(file: Path, source: str, error: str) -> None:
    file.write_text(source)
    assert str(read_declarations(file).error).startswith(f"{file}:{error}")


def test_a_file_that_registers_nothing_need_not_parse(file: Path) -> None:
    file.write_text("def f(:")
    assert read_declarations(file).error is None


def test_a_file_is_read_again_when_it_changes(file: Path) -> None:
    file.write_text("register_model('a', A)")
    assert [one.name for one in read_declarations(file).declarations] == ["a"]
    file.write_text("register_model('b', B)")
    os.utime(file, ns=(1, 1))
    assert [one.name for one in read_declarations(file).declarations] == ["b"]
