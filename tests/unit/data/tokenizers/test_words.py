"""Lines whose words are cut once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.chunk import Chunk
from seqtrain.data.tokenizers import words
from seqtrain.data.tokenizers.merging import Merges
from seqtrain.data.tokenizers.words import WordTable

LINES = st.lists(st.text("abx ", max_size=12), min_size=1, max_size=5)


def lines_of(chunk: Chunk) -> list[list[str]]:
    symbols = iter(chunk.symbols[token] for token in chunk.tokens)
    return [[next(symbols) for _ in range(length)] for length in chunk.lengths]


def table() -> WordTable:
    return WordTable(Merges({("a", "b"): 0, ("b", "a</w>"): 1}, separate_end=False), "@@")


def test_each_symbol_of_a_chunk_occurs() -> None:
    known = table()
    known.tokenize(["x ab bab"])
    chunk = known.tokenize(["abba", "", "x"])
    assert lines_of(chunk) == [["ab@@", "ba"], [], ["x"]]
    assert sorted(chunk.symbols) == ["ab@@", "ba", "x"]


@settings(max_examples=100, deadline=None)
@given(chunks=st.lists(LINES, max_size=5))
def test_what_was_met_before_changes_nothing(chunks: list[list[str]]) -> None:
    known = table()
    assert [lines_of(known.tokenize(lines)) for lines in chunks] == [
        lines_of(table().tokenize(lines)) for lines in chunks
    ]


def test_words_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_MAX_WORDS", 2)
    known = table()
    assert lines_of(known.tokenize(["a b ba"])) == [["a", "b", "ba"]]
    assert lines_of(known.tokenize(["ba xa"])) == [["ba", "x@@", "a"]]
