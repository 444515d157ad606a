"""Lines as symbols."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqtrain.data import chunk
from seqtrain.data.chunk import Chunk, split_lines, tokenize_chunk
from seqtrain.data.text import TextFile
from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer


def test_symbols_are_listed_once_in_the_order_in_which_they_come() -> None:
    result = tokenize_chunk(["b a b", "", "a c"], WhitespaceTokenizer())
    assert result.symbols == ["b", "a", "c"]
    assert result.tokens.tolist() == [0, 1, 0, 1, 2]
    assert result.lengths.tolist() == [3, 0, 2]


def test_lines_are_split_behind_enough_characters() -> None:
    lines = [f"{number:04}" for number in range(10)]
    assert list(split_lines(lines)) == [lines]
    assert list(split_lines([])) == []
    long = "x" * chunk._CHUNK_CHARACTERS
    assert list(split_lines(["a", long, "b", long, long])) == [["a", long], ["b", long], [long]]


def test_a_file_is_split_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.en"
    path.write_text("a b\nc\n")
    file = TextFile(path)
    assert [list(lines) for lines in split_lines(file)] == [["a b", "c"]]
    assert [list(lines) for lines in split_lines(file.part(1, 2))] == [["c"]]
    result = tokenize_chunk(next(split_lines(file)), WhitespaceTokenizer())
    assert (result.symbols, result.lengths.tolist()) == (["a", "b", "c"], [2, 1])


def test_a_chunk_holds_the_symbols_that_occur() -> None:
    chunk = Chunk.of(["a", "b", "c", "d"], np.array([3, 1, 3]), np.array([2, 0, 1]))
    assert chunk.symbols == ["b", "d"]
    assert chunk.tokens.tolist() == [1, 0, 1]
    assert Chunk.of(["a"], np.array([], np.int64), np.array([0])).symbols == []
