"""Words numbered without strings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.tokenizers import word_index
from seqtrain.data.tokenizers.word_index import WordIndex

CHARACTERS = "ab\0ä\N{GRINNING FACE}\ud800 \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2028\u2029\u202f\u205f\u3000"
LINES = st.lists(st.text(CHARACTERS, max_size=30) | st.text(max_size=10), max_size=6)


def words_of(index: WordIndex, lines: list[str]) -> list[list[str]]:
    numbers, counts = index.split(lines)
    words = iter(index.words[number] for number in numbers)
    found = [[next(words) for _ in range(count)] for count in counts]
    assert next(words, None) is None
    return found


@settings(max_examples=300, deadline=None)
@given(chunks=st.lists(LINES, max_size=3))
def test_lines_are_cut_as_python_cuts_them(chunks: list[list[str]]) -> None:
    index = WordIndex()
    for lines in chunks:
        assert words_of(index, lines) == [line.split() for line in lines]
    assert len(set(index.words)) == len(index.words)


def test_every_space_of_python_is_one() -> None:
    spaces = [chr(point) for point in range(0x110000) if chr(point).isspace()]
    assert words_of(WordIndex(), [f"a{space}b" for space in spaces]) == [["a", "b"]] * len(spaces)


def test_words_of_8_15_and_16_bytes_are_told_apart() -> None:
    words = ["a" * length for length in range(1, 40)] + ["a" * length + "b" for length in range(39)]
    index = WordIndex()
    assert words_of(index, [" ".join(words)] * 2) == [words, words]
    assert sorted(index.words) == sorted({*words})


def test_words_that_want_the_same_slot_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_index, "_slots", lambda keys: (keys[0] * 0 + word_index._NUM_SLOTS - 2).astype("int64"))
    words = [f"w{number}" for number in range(20)]
    index = WordIndex()
    for lines in ([" ".join(words[:7])], [" ".join(words), "unknown"], words):
        assert words_of(index, lines) == [line.split() for line in lines]


def test_words_for_which_there_is_no_room_are_numbered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_index, "_MAX_KNOWN", 3)
    index = WordIndex()
    for lines in (["a b c d e", "e d a"], ["f a", "g d"]):
        assert words_of(index, lines) == [line.split() for line in lines]
    assert sorted(index.words) == [*"abcdefg"]
