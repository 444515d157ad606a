"""Text that is cut already."""

from __future__ import annotations

import pytest

from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer


def test_symbols_stand_between_white_space() -> None:
    assert WhitespaceTokenizer().tokenize(" a  b\tc\r\u00a0d\ufeffe ") == ["a", "b", "c", "d\ufeffe"]
    assert WhitespaceTokenizer().detokenize(["a", "b"]) == "a b"


@pytest.mark.parametrize(
    ("symbols", "text"),
    [
        (["a", "l@@", "on@@", "g", "word"], "a long word"),
        (["cut@@", "off@@"], "cutoff"),
        (["@@", "x"], "x"),
        ([], ""),
    ],
)
def test_pieces_are_joined(symbols: list[str], text: str) -> None:
    assert WhitespaceTokenizer("@@ ").detokenize(symbols) == text


def test_a_reference_is_written_as_decoded_text_is() -> None:
    assert WhitespaceTokenizer("@@ ").plain_text("a l@@ on@@ g word") == "a long word"
    assert WhitespaceTokenizer().plain_text("a l@@ ong") == "a l@@ ong"


def test_sentencepieces_are_joined() -> None:
    tokenizer = WhitespaceTokenizer("sentencepiece")
    assert tokenizer.detokenize(["\u2581a", "\u2581long", "er", "\u2581word"]) == "a longer word"


def test_the_fingerprint_depends_on_the_joint() -> None:
    assert WhitespaceTokenizer().fingerprint != WhitespaceTokenizer("@@ ").fingerprint
