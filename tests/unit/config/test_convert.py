"""From plain values to dataclasses: what fits, and what is said of what does not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from seqtrain.config import MISSING, Problem, Section
from seqtrain.config.convert import Fault, Faults, convert, convert_section, expectation, hints_of, join, shown


class Colour(Enum):
    """An enum for a setting."""

    red = "#f00"
    green = "#0f0"


@dataclass(kw_only=True)
class Inner(Section):
    """A section inside a section."""

    number: int = 1

    def problems(self) -> Iterator[Problem]:
        """The number is not 13."""
        if self.number == 13:
            yield Problem("number", "must not be 13")


@dataclass(kw_only=True)
class Outer(Section):
    """A section with a field of each type."""

    needed: str = MISSING
    inner: Inner = field(default_factory=Inner)
    rate: float = 0.5
    colour: Colour = Colour.red
    pair: tuple[int, int] = (1, 2)
    derived: int = field(default=0, init=False)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (bool, True, True),
        (int, 3, 3),
        (int, 1e4, 10_000),
        (float, 3, 3.0),
        (float, 0.5, 0.5),
        (str, "no", "no"),
        (Path, "a/b", Path("a/b")),
        (Colour, "green", Colour.green),
        (Colour, Colour.green, Colour.green),
        (int | None, None, None),
        (int | None, 3, 3),
        (int | str, "three", "three"),
        (float | str, 3, 3.0),
        (list[int], [1, 2.0], [1, 2]),
        (list[Colour], ["red"], [Colour.red]),
        (list, [1, "a"], [1, "a"]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (Any, {"whatever": [1]}, {"whatever": [1]}),
        (Inner, {"number": 2}, Inner(number=2)),
        (list[Inner], [{"number": 2}, {}], [Inner(number=2), Inner(number=1)]),
        (Inner | None, None, None),
    ],
)
def test_a_value_that_fits_is_converted(annotation: Any, value: Any, expected: Any) -> None:
    faults = Faults()
    converted = convert(annotation, value, "key", faults)
    assert converted == expected
    assert type(converted) is type(expected)
    assert len(faults) == 0


@pytest.mark.parametrize(
    ("annotation", "value", "key", "text"),
    [
        (bool, "yes", "key", "must be true or false, but is 'yes'"),
        (int, True, "key", "must be a whole number, but is true"),
        (int, 1.5, "key", "must be a whole number, but is 1.5"),
        (int, "4", "key", "must be a whole number, but is '4'"),
        (float, "fast", "key", "must be a number, but is 'fast'"),
        (float, False, "key", "must be a number, but is false"),
        (float, None, "key", "must be a number, but is null"),
        (str, False, "key", "must be text, but is false"),
        (str, 3, "key", "must be text, but is 3"),
        (Colour, "blue", "key", "must be one of red, green, but is 'blue'"),
        (int | None, "x", "key", "must be a whole number or null, but is 'x'"),
        (Colour | None, "x", "key", "must be one of red, green or null, but is 'x'"),
        (int | bool, "x", "key", "must be a whole number or true or false, but is 'x'"),
        (list[str], "a", "key", "must be a list of texts, but is 'a'"),
        (list[str], ["a", True], "key[1]", "must be text, but is true"),
        (tuple[float, float], [0.9], "key", "must be a list of 2, but is [0.9]"),
        (dict[str, int], {"a": "b"}, "key.a", "must be a whole number, but is 'b'"),
        (dict[str, int], [1], "key", "must be a mapping of keys to values, but is [1]"),
        (Inner, 3, "key", "must be a mapping of keys to values, but is 3"),
        (Inner, {"number": "x"}, "key.number", "must be a whole number, but is 'x'"),
        (Inner, {"number": 13}, "key.number", "must not be 13"),
        (Inner, {"nombre": 1}, "key.nombre", "is no key of Inner"),
    ],
)
def test_a_value_that_does_not_fit_is_a_fault_of_its_key(annotation: Any, value: Any, key: str, text: str) -> None:
    faults = Faults()
    convert(annotation, value, "key", faults)
    assert [(fault.key, fault.text) for fault in faults.found] == [(key, text)]


@pytest.mark.parametrize(
    ("annotation", "value", "remedy"),
    [
        (Inner, {"numbre": 1}, "did you mean key.number?"),
        (Colour, "Green", "did you mean green?"),
        (str, False, "YAML reads an unquoted no, off or false so: quote the text ('no', 'off' or 'false')"),
        (str, 1.1, "quote it: '1.1'"),
        (int, "x", None),
    ],
)
def test_a_fault_comes_with_a_remedy_where_there_is_one(annotation: Any, value: Any, remedy: str | None) -> None:
    faults = Faults()
    convert(annotation, value, "key", faults)
    assert faults.found[0].remedy == remedy


def test_all_faults_and_missing_keys_of_a_section_are_found() -> None:
    faults = Faults()
    plain = {"inner": {"number": "x", "extra": 1}, "rate": "y", "pair": [1]}
    assert convert_section(Outer, plain, "outer", faults) is None
    assert [fault.key for fault in faults.found] == [
        "outer.inner.extra",
        "outer.inner.number",
        "outer.rate",
        "outer.pair",
    ]
    assert faults.missing == {"outer.needed": Outer}


def test_a_section_takes_its_defaults_for_what_is_left_out() -> None:
    faults = Faults()
    section = convert_section(Outer, {"needed": "x", "derived": 5}, "", faults)
    expected = Outer(needed="x")
    expected.derived = 5
    assert section == expected
    assert len(faults) == 0


def test_question_marks_stand_for_what_is_missing() -> None:
    faults = Faults()
    convert(list[int], [1, "???"], "key", faults)
    assert list(faults.missing) == ["key[1]"]


def test_values_are_shown_as_yaml_has_them() -> None:
    assert [shown(value) for value in (None, True, False, 3, "a")] == ["null", "true", "false", "3", "'a'"]


def test_keys_are_joined_by_dots() -> None:
    assert (join("", "lr"), join("optimizer", "lr")) == ("lr", "optimizer.lr")


def test_types_are_described_in_words() -> None:
    assert expectation(tuple[float, float]) == "a list of 2"
    assert expectation(list[float] | None) == "a list of numbers or null"
    assert expectation(complex) == "complex"


def test_only_dataclasses_have_hints() -> None:
    assert hints_of(Inner) == {"number": int}
    assert hints_of(int) == {}


def test_a_fault_says_the_whole_key() -> None:
    faults = Faults()
    faults.add("optimizer.lr", "must be positive")
    assert faults.found == [Fault("optimizer.lr", "must be positive", None)]


def test_what_is_no_number_is_no_float() -> None:
    faults = Faults()
    assert convert(float, math.nan, "optimizer.lr", faults) is None
    assert [(fault.key, fault.text) for fault in faults.found] == [("optimizer.lr", "must be a number, but is nan")]
