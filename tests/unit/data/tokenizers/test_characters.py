"""Characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seqtrain.data.tokenizers.characters import CharacterTokenizer


def test_a_space_and_a_line_break_are_symbols() -> None:
    assert CharacterTokenizer().tokenize("a ß\n") == ["a", " ", "ß", "<newline>"]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_all_text_comes_back(text: str) -> None:
    tokenizer = CharacterTokenizer()
    assert tokenizer.detokenize(tokenizer.tokenize(text)) == text


def test_text_that_spells_the_line_break_is_not_one() -> None:
    tokenizer = CharacterTokenizer()
    assert len(tokenizer.tokenize("<newline>")) == 9
    assert tokenizer.detokenize(tokenizer.tokenize("<newline>")) == "<newline>"
