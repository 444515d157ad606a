"""Text to token numbers and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from seqtrain.data import chunk
from seqtrain.data.chunk import Chunk
from seqtrain.data.encoding import Codec, number_lines, tokenize
from seqtrain.data.tokenizers.characters import CharacterTokenizer
from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.errors import DataError

VOCABULARY = Vocabulary(["a", "b@@", "c"])


def lines_of(chunks: Iterator[Chunk]) -> list[list[str]]:
    lines: list[list[str]] = []
    for part in chunks:
        symbols = [part.symbols[token] for token in part.tokens]
        ends = np.cumsum(part.lengths)
        lines += [symbols[end - length : end] for end, length in zip(ends, part.lengths, strict=True)]
    return lines


def test_a_line_is_encoded_and_decoded() -> None:
    codec = Codec(WhitespaceTokenizer(remove_bpe="@@ "), VOCABULARY)
    assert codec.encode("a  b@@ c").tolist() == [4, 5, 6, 2]
    assert codec.decode(codec.encode("a b@@ c")) == "a bc"


def test_special_symbols_are_not_decoded_but_for_the_unknown_one() -> None:
    codec = Codec(WhitespaceTokenizer(), VOCABULARY)
    assert codec.decode(np.array([0, 4, 3, 2, 1, 1])) == "a <unk>"
    assert codec.decode([4, 3], unknown="<<unk>>") == "a <<unk>>"


def test_a_codec_without_eos() -> None:
    codec = Codec(CharacterTokenizer(), Vocabulary(["a", "<newline>"]), append_eos=False)
    assert codec.encode("a\n").tolist() == [4, 5]
    assert codec.decode([4, 5, 4]) == "a\na"


def test_a_codec_is_saved_under_two_names(tmp_path: Path) -> None:
    Codec(WhitespaceTokenizer("@@ "), VOCABULARY).save(tmp_path, "tokenizer.en", "dict.en.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dict.en.txt", "tokenizer.en.json"]


def test_the_fingerprint_depends_on_all_parts() -> None:
    codecs = [
        Codec(WhitespaceTokenizer(), VOCABULARY),
        Codec(WhitespaceTokenizer("@@ "), VOCABULARY),
        Codec(CharacterTokenizer(), VOCABULARY),
        Codec(WhitespaceTokenizer(), Vocabulary(["a"])),
        Codec(WhitespaceTokenizer(), VOCABULARY, append_eos=False),
    ]
    assert len({codec.fingerprint for codec in codecs}) == len(codecs)


def test_lines_get_numbers_and_ends() -> None:
    tokens, lengths, table = np.array([0, 1, 0, 1], np.uint32), np.array([1, 0, 3]), np.array([8, 9])
    numbers, ended = number_lines(tokens, lengths, table, append_eos=True)
    assert numbers.tolist() == [8, 2, 2, 9, 8, 9, 2]
    assert ended.tolist() == [2, 1, 4]
    numbers, same = number_lines(tokens, lengths, table, append_eos=False)
    assert numbers.tolist() == [8, 9, 8, 9]
    assert same.tolist() == lengths.tolist()


@pytest.mark.parametrize("num_workers", [1, 3])
def test_lines_come_back_in_their_order_from_one_process_or_several(
    num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk, "_CHUNK_CHARACTERS", 20)
    lines = [f"{number} {number % 7} x" for number in range(200)]
    chunks = tokenize(lines, WhitespaceTokenizer(), num_workers=num_workers)
    assert lines_of(chunks) == [line.split() for line in lines]


def test_what_the_lines_raise_comes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "_CHUNK_CHARACTERS", 20)

    def lines() -> Iterator[str]:
        yield from ["some words here"] * 40
        raise DataError("line 41 is broken")

    with pytest.raises(DataError, match="line 41 is broken"):
        list(tokenize(lines(), WhitespaceTokenizer(), num_workers=2))
