"""Which lines are shown."""

from __future__ import annotations

import numpy as np

from seqtrain.data.encoding import Codec
from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer
from seqtrain.data.tokens import TokenTable
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.verification.examples import (
    Found,
    Limits,
    find_known,
    find_lines,
    find_pairs,
    texts_of_lines,
    texts_of_tokens,
)
from seqtrain.verification.lines import marks_of_text

LIMITS = Limits(num_shown=2, max_ratio=3.0)


def test_the_longest_lines_and_those_that_smell_are_shown() -> None:
    marks = marks_of_text(["", "a\ufffd", "", "b", "", "c\x00"])
    assert list(find_lines(marks, np.array([1, 5, 1, 5, 1, 7]), 1, LIMITS)) == [
        Found("longest: 7 tokens", 5, (1,)),
        Found("longest: 5 tokens", 1, (1,)),
        Found("empty", 0, (1,)),
        Found("empty", 2, (1,)),
        Found("U+FFFD", 1, (1,)),
        Found("control character", 5, (1,)),
    ]


def test_pairs_beyond_the_ratio_and_copies_are_shown() -> None:
    marks = [marks_of_text(["a", "b", "c"]), marks_of_text(["x", "b", "y"])]
    assert list(find_pairs(marks, [np.array([3, 3, 2]), np.array([9, 3, 9])], LIMITS)) == [
        Found("uneven: 2 and 9 tokens", 2, (0, 1)),
        Found("source = target", 1, (0, 1)),
    ]


def test_no_line_is_shown_where_none_is_wanted() -> None:
    marks = marks_of_text(["", "a\ufffd"])
    assert list(find_lines(marks, np.array([1, 5]), 0, Limits(0, 3.0))) == []


def test_lines_of_train_are_shown() -> None:
    assert list(find_known(np.array([False, True]), (0,), LIMITS)) == [Found("in train", 1, (0,))]


def test_texts_are_read_by_number() -> None:
    assert texts_of_lines(["zero\n", "one\n", "two\n"], {0, 2}) == {0: "zero", 2: "two"}
    codec = Codec(WhitespaceTokenizer(), Vocabulary(["a", "b"]))
    table = TokenTable.from_lists([codec.encode("a b"), codec.encode("b")])
    assert texts_of_tokens(table, codec, {1}) == {1: "b"}


def test_of_a_long_line_the_beginning_is_kept() -> None:
    assert texts_of_lines(["x" * 1000], {0}) == {0: "x" * 300 + "..."}
