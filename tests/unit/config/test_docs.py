"""What the docstrings of a schema say."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass

from seqtrain.config.docs import field_docs, summary


@dataclass
class Base:
    """A base."""

    width: int = 1
    """In features."""
    undocumented: int = 2


@dataclass
class Derived(Base):
    """Derived from it."""

    width: int = 3
    """In features,
    but more of them."""
    depth: int = 4
    """In layers."""


def test_fields_have_the_text_below_them_and_that_of_their_bases() -> None:
    assert field_docs(Base) == {"width": "In features."}
    assert field_docs(Derived) == {"width": "In features, but more of them.", "depth": "In layers."}


def test_a_schema_without_source_has_no_texts() -> None:
    assert field_docs(make_dataclass("Made", [("width", int, 1)])) == {}


def test_a_summary_is_the_first_line() -> None:
    assert summary("\n  What it is.\n\n  More.\n") == "What it is."
    assert summary(None) == ""
