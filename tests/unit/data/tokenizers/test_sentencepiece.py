"""Pieces learned by sentencepiece."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from seqtrain.data.demo import english
from seqtrain.data.tokenizers import (
    SentencePieceModel,
    TokenizerKind,
    TokenizerOptions,
    load_tokenizer,
    make_tokenizer,
)
from seqtrain.errors import DataError

LINES = [english(number) for number in range(0, 20_000, 7)]


def options(size: int, model: SentencePieceModel = SentencePieceModel.unigram) -> TokenizerOptions:
    return TokenizerOptions(kind=TokenizerKind.sentencepiece, vocab_size=size, sentencepiece_model=model)


@pytest.mark.parametrize("model", SentencePieceModel)
def test_text_comes_back(model: SentencePieceModel) -> None:
    tokenizer = make_tokenizer(options(60, model), LINES)
    for line in LINES[:100]:
        pieces = tokenizer.tokenize(line)
        assert len(pieces) <= len(line) + 1
        assert tokenizer.detokenize(pieces) == line


def test_the_same_text_gives_the_same_pieces() -> None:
    first, second = make_tokenizer(options(60), LINES), make_tokenizer(options(60), iter(LINES))
    assert first.fingerprint == second.fingerprint
    assert make_tokenizer(options(50), LINES).fingerprint != first.fingerprint


@pytest.mark.parametrize("model", SentencePieceModel)
def test_a_small_text_gets_fewer_pieces_and_a_line_that_says_so(
    model: SentencePieceModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tokenizer = make_tokenizer(options(8000, model), ["a man rides a bicycle", "two dogs run"])
    assert tokenizer.detokenize(tokenizer.tokenize("two men ride")) == "two men ride"
    assert "sentencepieces, not for 8000" in caplog.text


def test_rare_characters_become_unknown_where_there_is_no_room(caplog: pytest.LogCaptureFixture) -> None:
    lines = ["ab " * 4000, *(f"a{chr(code)}" for code in range(0x4E00, 0x4E05))]
    tokenizer = make_tokenizer(options(6), lines)
    assert tokenizer.tokenize("ab") != []
    assert "no room for all characters" in caplog.text


def test_too_few_pieces_for_the_characters_are_refused_with_a_number_that_will_do() -> None:
    with pytest.raises(DataError, match=r"frequent characters, for which 5 sentencepieces have no room") as raised:
        make_tokenizer(options(5), LINES)
    assert raised.value.remedy is not None
    enough = int(raised.value.remedy.split("=")[1].split()[0])
    make_tokenizer(options(enough), LINES)


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(DataError, match="the training text is empty"):
        make_tokenizer(options(10), ["", "  "])


def test_the_model_travels_with_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(options(60), LINES)
    tokenizer.save(tmp_path, "tokenizer")
    again = load_tokenizer(tmp_path, "tokenizer")
    assert again.fingerprint == tokenizer.fingerprint
    assert again.tokenize(LINES[5]) == tokenizer.tokenize(LINES[5])


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    make_tokenizer(options(60), LINES).save(tmp_path, "tokenizer")
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(DataError, match=r"tokenizer\.model: no sentencepiece model"):
        load_tokenizer(tmp_path, "tokenizer")
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(DataError, match=r"tokenizer\.model: cannot be read"):
        load_tokenizer(tmp_path, "tokenizer")


@pytest.mark.parametrize("lines", [LINES[:50], ["", "no numbers: \N{GREEK SMALL LETTER ALPHA} x", *LINES[:3]], [""]])
def test_many_lines_are_cut_as_one_after_the_other(lines: list[str]) -> None:
    tokenizer = make_tokenizer(options(60), LINES)
    chunk = tokenizer.tokenize_lines(lines)
    symbols = [chunk.symbols[token] for token in chunk.tokens]
    assert symbols == [symbol for line in lines for symbol in tokenizer.tokenize(line)]
    assert chunk.lengths.tolist() == [len(tokenizer.tokenize(line)) for line in lines]
