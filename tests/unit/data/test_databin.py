"""Data-bin folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqtrain.data.databin import (
    Layout,
    is_data_bin,
    language_pairs,
    load_codecs,
    open_tokens,
    save_codecs,
    saved_layout,
    split_names,
)
from seqtrain.data.encoding import Codec
from seqtrain.data.indexed import IndexedWriter
from seqtrain.data.manifest import write_manifest
from seqtrain.data.tokenizers.characters import CharacterTokenizer
from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.errors import DataError

EN_DE = Layout(("en", "de"))
TEXT = Layout(("",))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_files_have_fairseqs_names() -> None:
    assert EN_DE.vocabulary("de") == "dict.de.txt"
    assert EN_DE.tokens("test.2016", "en") == "test.2016.en-de.en"
    assert (TEXT.vocabulary(""), TEXT.tokens("train", "")) == ("dict.txt", "train")


def test_what_is_there_is_read_from_the_names(tmp_path: Path) -> None:
    assert not is_data_bin(tmp_path)
    touch(tmp_path, "train.en-de.en.idx", "train.en-de.de.idx", "test.2016.en-de.en.idx", "valid.idx", "dict.en.txt")
    assert is_data_bin(tmp_path)
    assert language_pairs(tmp_path) == [("en", "de")]
    assert split_names(tmp_path) == ["test.2016", "train", "valid"]


def test_token_files_of_the_other_direction_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "train.en-de.en.idx", "train.en-de.de.idx")
    backward = Layout(("de", "en"))
    assert EN_DE.find_tokens(tmp_path, "train", "de") == tmp_path / "train.en-de.de"
    assert backward.find_tokens(tmp_path, "train", "de") == tmp_path / "train.en-de.de"
    assert backward.find_tokens(tmp_path, "valid", "de") is None


def test_codecs_are_saved_and_equal_vocabularies_are_shared(tmp_path: Path) -> None:
    tokenizer = WhitespaceTokenizer()
    save_codecs(tmp_path, EN_DE, [Codec(tokenizer, Vocabulary(["a"])), Codec(tokenizer, Vocabulary(["a"]))])
    assert saved_layout(tmp_path) == EN_DE
    source, target = load_codecs(tmp_path, EN_DE)
    assert source.vocabulary is target.vocabulary
    save_codecs(tmp_path, EN_DE, [Codec(tokenizer, Vocabulary(["a"])), Codec(tokenizer, Vocabulary(["b"]))])
    source, target = load_codecs(tmp_path, EN_DE)
    assert source.vocabulary is not target.vocabulary


def test_a_folder_without_tokenizers_takes_the_fallback(tmp_path: Path) -> None:
    Vocabulary(["a"]).save(tmp_path / "dict.txt")
    fallback = WhitespaceTokenizer("@@ ")
    (codec,) = load_codecs(tmp_path, TEXT, fallback=fallback)
    assert codec.tokenizer is fallback
    with pytest.raises(DataError, match=r"tokenizer\.json: cannot be read"):
        load_codecs(tmp_path, TEXT)


def test_lines_are_sentences_but_in_a_stream_of_characters() -> None:
    assert EN_DE.ends_lines(WhitespaceTokenizer())
    assert EN_DE.ends_lines(CharacterTokenizer())
    assert TEXT.ends_lines(WhitespaceTokenizer())
    assert not TEXT.ends_lines(CharacterTokenizer())


def test_an_altered_vocabulary_is_found(tmp_path: Path) -> None:
    save_codecs(tmp_path, TEXT, [Codec(WhitespaceTokenizer(), Vocabulary(["a"]))])
    write_manifest(tmp_path)
    (tmp_path / "dict.txt").write_text("b 0\n")
    with pytest.raises(DataError, match=r"dict\.txt: its content is not what was written"):
        load_codecs(tmp_path, TEXT)


def test_a_folder_without_a_note_has_no_layout(tmp_path: Path) -> None:
    assert saved_layout(tmp_path) is None


@pytest.mark.parametrize("content", ["[", "{}", "[1]"])
def test_a_malformed_note_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "languages.json").write_text(content)
    with pytest.raises(DataError, match=r"languages\.json"):
        saved_layout(tmp_path)


def test_tokens_are_compared_with_their_checksums(tmp_path: Path) -> None:
    with IndexedWriter(tmp_path / "train", vocabulary_size=9) as writer:
        writer.write(np.array([4, 2]), np.array([2]))
    before = open_tokens(tmp_path / "train", 9)
    write_manifest(tmp_path)
    after = open_tokens(tmp_path / "train", 9)
    assert before.fingerprint == after.fingerprint
    (tmp_path / "train.bin").write_bytes(bytes([5, 0, 2, 0]))
    with pytest.raises(DataError, match=r"train\.bin: its content is not what was written"):
        open_tokens(tmp_path / "train", 9)
