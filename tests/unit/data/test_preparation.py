"""From lines to a data-bin folder."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from seqtrain.data import preparation
from seqtrain.data.databin import Layout, open_tokens
from seqtrain.data.preparation import CodecOptions, encode_split, prepare
from seqtrain.data.tokenizers import TokenizerKind, TokenizerOptions
from seqtrain.errors import DataError

EN_DE = Layout(("en", "de"))
ENGLISH = ["a house", "a cat", "", "the cat"]
GERMAN = ["ein haus", "eine katze", "nichts", "a katze"]


def options(
    kind: TokenizerKind = TokenizerKind.whitespace, *, joined: bool = False, min_count: int = 0
) -> CodecOptions:
    tokenizer = TokenizerOptions(kind=kind, vocab_size=40)
    return CodecOptions(tokenizer=tokenizer, joined=joined, min_count=min_count)


def sentences(folder: Path, name: str, size: int) -> list[list[int]]:
    table = open_tokens(folder / name, size)
    return [table[number].tolist() for number in range(len(table))]


def test_each_language_has_its_vocabulary(tmp_path: Path) -> None:
    source, target = prepare([ENGLISH, GERMAN], EN_DE, tmp_path, options=options())
    assert source.vocabulary.symbols[4:8] == ("a", "cat", "house", "the")
    assert target.vocabulary.symbols[4:7] == ("katze", "a", "ein")
    assert source.vocabulary.counts[4:8] == (2, 2, 1, 1)
    assert sentences(tmp_path, "train.en-de.en", 8) == [[4, 6, 2], [4, 5, 2], [2], [7, 5, 2]]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dict.de.txt",
        "dict.en.txt",
        "languages.json",
        "tokenizer.de.json",
        "tokenizer.en.json",
        "train.en-de.de.bin",
        "train.en-de.de.idx",
        "train.en-de.en.bin",
        "train.en-de.en.idx",
    ]


def test_a_joined_vocabulary_counts_both_languages(tmp_path: Path) -> None:
    source, target = prepare([ENGLISH, GERMAN], EN_DE, tmp_path, options=options(joined=True))
    assert source.vocabulary is target.vocabulary
    assert source.vocabulary.symbols[4] == "a"
    assert source.vocabulary.counts[4] == 3


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("kind", [kind for kind in TokenizerKind if kind is not TokenizerKind.subword_nmt])
def test_text_is_the_same_whether_tokenized_with_its_vocabulary_or_before_it(
    tmp_path: Path, kind: TokenizerKind, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "_BLOCK_TOKENS", 3)
    codecs = prepare([ENGLISH, GERMAN], EN_DE, tmp_path, options=options(kind, joined=joined))
    encode_split([ENGLISH, GERMAN], codecs, [tmp_path / "again.en", tmp_path / "again.de"])
    for language, codec, lines in zip(EN_DE.languages, codecs, (ENGLISH, GERMAN), strict=True):
        size = len(codec.vocabulary)
        expected = sentences(tmp_path, f"train.en-de.{language}", size)
        assert sentences(tmp_path, f"again.{language}", size) == expected
        assert [codec.encode(line).tolist() for line in lines] == expected


def test_rare_symbols_become_unknown(tmp_path: Path) -> None:
    (codec,) = prepare([ENGLISH], Layout(("",)), tmp_path, options=options(min_count=2))
    assert codec.vocabulary.symbols[4:6] == ("a", "cat")
    assert sentences(tmp_path, "train", 8)[0] == [4, codec.vocabulary.unk, 2]


def test_all_bytes_are_in_the_vocabulary_of_bytes(tmp_path: Path) -> None:
    (codec,) = prepare([["ab", "a"]], Layout(("",)), tmp_path, options=options(TokenizerKind.bytes))
    assert len(codec.vocabulary) == 264  # 4 special ones, 256 bytes, filled up to a multiple of 8
    assert codec.vocabulary.symbols[4:6] == ("61", "62")
    assert codec.vocabulary.unk not in codec.encode("ß€𝄞\x00")
    assert np.concatenate(sentences(tmp_path, "train", 264)).tolist() == [4, 5, 4]


def test_a_text_without_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the training text is empty"):
        prepare([["", " "]], Layout(("",)), tmp_path, options=options())


def test_of_a_large_text_the_tokenizer_learns_from_lines_of_all_parts_and_languages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "_MAX_TOKENIZER_LINES", 8)
    english = [*["aa bb"] * 10, *["cc dd"] * 10]
    german = [*["ee ff"] * 10, *["gg hh"] * 10]
    codecs = prepare([english, german], EN_DE, tmp_path, options=options(TokenizerKind.sentencepiece, joined=True))
    for lines in (english, german):
        for line in lines:
            assert codecs[0].decode(codecs[0].encode(line)) == line


def test_what_takes_long_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        prepare([ENGLISH, GERMAN], EN_DE, tmp_path, options=options(TokenizerKind.sentencepiece, joined=True))
    assert "training sentencepiece on 8 lines" in caplog.text
    assert "room for" in caplog.text
    assert "tokenized train.en-de.de: 4 lines" in caplog.text
    assert "vocabulary: " in caplog.text
