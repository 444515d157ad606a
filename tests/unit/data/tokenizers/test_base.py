"""Tokenizers in folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seqtrain.data.tokenizers import TokenizerKind, TokenizerOptions, load_tokenizer, make_tokenizer
from seqtrain.errors import DataError


@pytest.mark.parametrize("kind", [TokenizerKind.whitespace, TokenizerKind.characters, TokenizerKind.bytes])
def test_a_tokenizer_is_its_settings(kind: TokenizerKind, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(TokenizerOptions(kind=kind, remove_bpe="@@ "), ())
    tokenizer.save(tmp_path, "tokenizer.de")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.de.json"]
    assert json.loads((tmp_path / "tokenizer.de.json").read_text())["kind"] == kind.name
    again = load_tokenizer(tmp_path, "tokenizer.de")
    assert type(again) is type(tokenizer)
    assert again.fingerprint == tokenizer.fingerprint


def test_kinds_have_different_fingerprints() -> None:
    kinds = [TokenizerKind.whitespace, TokenizerKind.characters, TokenizerKind.bytes]
    assert len({make_tokenizer(TokenizerOptions(kind=kind), ()).fingerprint for kind in kinds}) == 3


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "mystery"}', '{"kind": ["bytes"]}'])
def test_malformed_settings_are_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path, "tokenizer")


def test_missing_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tokenizer\.json: cannot be read"):
        load_tokenizer(tmp_path, "tokenizer")
