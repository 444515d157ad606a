"""What is known of each line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqtrain.data.encoding import Codec
from seqtrain.data.text import TextFile, TextStream
from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer
from seqtrain.data.tokens import TokenTable
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.verification.lines import count_unknown, first_line, marks_of_text, marks_of_tokens, pair_digests

LINES = ["a b", "", "a b", " \t ", "x \ufffd", "carriage return\r", "next\x85line", "a tab\tis fine"]


def test_empty_lines_and_characters_that_smell_are_marked() -> None:
    marks = marks_of_text(LINES)
    assert marks.is_empty.tolist() == [False, True, False, True, False, False, False, False]
    assert marks.has_replacement.tolist() == [False, False, False, False, True, False, False, False]
    assert marks.has_control.tolist() == [False, False, False, False, False, True, True, False]


def test_equal_lines_have_equal_digests_and_others_do_not() -> None:
    digests = marks_of_text(LINES).digests
    assert digests[0] == digests[2]
    assert len(np.unique(digests)) == len(LINES) - 1


def test_the_line_break_that_a_stream_keeps_is_not_part_of_a_line() -> None:
    with_breaks = marks_of_text([f"{line}\n" for line in LINES])
    assert with_breaks.digests.tolist() == marks_of_text(LINES).digests.tolist()
    assert with_breaks.has_control.tolist() == marks_of_text(LINES).has_control.tolist()


def test_marks_do_not_depend_on_how_the_text_is_cut_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = marks_of_text(LINES)
    monkeypatch.setattr("seqtrain.data.chunk._CHUNK_CHARACTERS", 3)
    assert marks_of_text(LINES).digests.tolist() == whole.digests.tolist()


def table_of(lines: list[str], codec: Codec) -> TokenTable:
    return TokenTable.from_lists([codec.encode(line) for line in lines])


@pytest.fixture
def codec() -> Codec:
    return Codec(WhitespaceTokenizer(), Vocabulary(["a", "b", "x\ufffd", "c\x01"]))


@pytest.mark.parametrize("num_tokens", [1, 4, 2**22])
def test_lines_of_a_data_bin_folder_are_known_by_their_symbols(
    codec: Codec, num_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqtrain.verification.lines._BLOCK_TOKENS", num_tokens)
    marks = marks_of_tokens(table_of(["a b", "", "b a", "a b", "a x\ufffd", "c\x01"], codec), codec)
    assert marks.is_empty.tolist() == [False, True, False, False, False, False]
    assert marks.has_replacement.tolist() == [False, False, False, False, True, False]
    assert marks.has_control.tolist() == [False, False, False, False, False, True]
    assert marks.digests[0] == marks.digests[3]
    assert len(np.unique(marks.digests)) == 5


def test_unknown_tokens_are_counted(codec: Codec) -> None:
    assert count_unknown(table_of(["a unseen b", "unseen unseen", ""], codec)) == 3


def test_pairs_have_digests_of_their_own() -> None:
    one, two = marks_of_text(["x", "x", "y", "y", "x"]).digests, marks_of_text(["x", "y", "x", "y", "x"]).digests
    pairs = pair_digests(one, two)
    assert pairs[0] == pairs[4]
    assert len(np.unique(pairs)) == 4


def test_the_number_of_a_line_is_that_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("one\ntwo\nthree\n", encoding="utf-8")
    assert first_line(["one"]) == 1
    assert first_line(TextFile(path)) == 1
    assert first_line(TextFile(path, 2)) == 3
    assert first_line(TextStream(path)) == 1
    assert first_line(TextStream(path, 5)) == 2
