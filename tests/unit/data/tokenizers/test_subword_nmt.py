"""Byte-pair encoding, against subword-nmt itself and by hand."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.tokenizers import TokenizerKind, TokenizerOptions, load_tokenizer, make_tokenizer
from seqtrain.data.tokenizers.subword_nmt import SubwordTokenizer
from seqtrain.errors import ConfigError, DataError
from tests.shared import shared

MERGES = "a b\nab a</w>\nb a\nc c</w>\na a\naa b\n"
CODES = {"0.2": f"#version: 0.2\n{MERGES}", "0.1": "a b\nab a\naba </w>\nc </w>\nb a\n"}


def theirs(codes: str) -> object:
    apply_bpe = pytest.importorskip("subword_nmt.apply_bpe")
    return apply_bpe.BPE(io.StringIO(codes))


def test_the_merge_that_was_learned_first_is_done_first() -> None:
    tokenizer = SubwordTokenizer(CODES["0.2"], "codes")
    assert tokenizer.tokenize("aba cc abab") == ["aba", "cc", "ab@@", "a@@", "b"]
    assert tokenizer.tokenize(" x ") == ["x"]
    assert tokenizer.tokenize("") == []


@pytest.mark.parametrize("version", CODES)
@settings(max_examples=100, deadline=None)
@given(line=st.text("abc ", max_size=24))
def test_words_are_cut_as_subword_nmt_does(version: str, line: str) -> None:
    reference = theirs(CODES[version])
    expected = reference.process_line(line).split()  # type: ignore[attr-defined]
    assert SubwordTokenizer(CODES[version], "codes").tokenize(line) == expected


@settings(deadline=None)
@given(line=st.lists(st.text("abcx@", min_size=1), max_size=5).map(" ".join))
def test_words_come_back(line: str) -> None:
    tokenizer = SubwordTokenizer(CODES["0.2"], "codes")
    if "@@" not in f"{line}@".replace("@ ", "@"):
        assert tokenizer.detokenize(tokenizer.tokenize(line)) == line


def test_published_text_is_cut_as_published() -> None:
    folder = shared("data/multi30k/bpe-en-de")
    import gzip

    with gzip.open(folder / "valid.de.gz", "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()
    tokenizer = make_tokenizer(TokenizerOptions(kind=TokenizerKind.subword_nmt, bpe_codes=str(folder / "code.gz")), ())
    assert [tokenizer.tokenize(line.replace("@@ ", "")) for line in lines] == [line.split() for line in lines]


def test_the_codes_travel_with_the_tokenizer(tmp_path: Path) -> None:
    codes = tmp_path / "codes"
    codes.write_text(CODES["0.2"])
    tokenizer = make_tokenizer(TokenizerOptions(kind=TokenizerKind.subword_nmt, bpe_codes=str(codes)), ())
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved", "tokenizer.en")
    codes.unlink()
    again = load_tokenizer(tmp_path / "saved", "tokenizer.en")
    assert again.tokenize("abab") == tokenizer.tokenize("abab")
    assert again.fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize(
    ("codes", "fault"),
    [
        ("#version: 0.2\na b\na b c\n", r"codes:3: expected the two pieces of a merge, but found 'a b c'"),
        ("a\n", r"codes:1: expected the two pieces"),
        ("#version: 0.9\na b\n", r"codes:1: codes of version '0.9' are unknown"),
    ],
)
def test_a_malformed_line_is_named(codes: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        SubwordTokenizer(codes, "codes")


def test_codes_are_needed() -> None:
    with pytest.raises(ConfigError, match="needs the file of its merges"):
        make_tokenizer(TokenizerOptions(kind=TokenizerKind.subword_nmt), ())
