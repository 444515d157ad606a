"""Words numbered without strings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.text import JoinedLines
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


@given(lines=st.lists(st.text(CHARACTERS, max_size=30), min_size=1, max_size=6))
def test_joined_lines_are_cut_like_a_list_of_them(lines: list[str]) -> None:
    joined = JoinedLines("\n".join(lines))
    index = WordIndex()
    numbers, counts = index.split(joined)
    expected_numbers, expected_counts = index.split(list(joined))
    assert (numbers.tolist(), counts.tolist()) == (expected_numbers.tolist(), expected_counts.tolist())


def test_every_space_of_python_is_one() -> None:
    spaces = [chr(point) for point in range(0x110000) if chr(point).isspace()]
    assert words_of(WordIndex(), [f"a{space}b" for space in spaces]) == [["a", "b"]] * len(spaces)


def test_words_of_8_15_and_16_bytes_are_told_apart() -> None:
    words = ["a" * length for length in range(1, 40)] + ["a" * length + "b" for length in range(39)]
    index = WordIndex()
    assert words_of(index, [" ".join(words)] * 2) == [words, words]
    assert sorted(index.words) == sorted({*words})
