"""Bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seqtrain.data.tokenizers.bytes import ByteTokenizer


def test_a_byte_is_two_digits() -> None:
    assert ByteTokenizer().tokenize("aß\n") == ["61", "c3", "9f", "0a"]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_all_text_comes_back(text: str) -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.detokenize(tokenizer.tokenize(text)) == text
    assert set(tokenizer.tokenize(text)) <= set(tokenizer.alphabet)


def test_bytes_that_are_no_text_do_not_hinder_the_others() -> None:
    assert ByteTokenizer().detokenize(["61", "c3", "62", "<unk>"]) == "a\ufffdb"
