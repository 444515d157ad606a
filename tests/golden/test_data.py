"""Vocabularies and token files against those that fairseq wrote, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqtrain.data.databin import open_tokens
from seqtrain.data.indexed import IndexedWriter
from seqtrain.data.tokenizers import TokenizerKind
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from seqtrain.tasks.preprocess import preprocess
from seqtrain.tasks.translation import TranslationConfig, TranslationTask
from tests.shared import shared

GOLDEN = shared("golden/fairseq")
TRANSLATION = GOLDEN / "data"
TEXT = GOLDEN / "data_lm"
TOKEN_FILES = [
    *(TRANSLATION / f"{split}.en-de.{language}" for split in ("train", "valid", "test") for language in ("en", "de")),
    *(TEXT / split for split in ("train", "valid")),
]


def copy_text(source: str, target: Path) -> None:
    target.write_bytes((TRANSLATION / source).read_bytes())


@pytest.mark.parametrize("path", [*TRANSLATION.glob("dict.*"), *TEXT.glob("dict.*")], ids=lambda path: path.name)
def test_a_vocabulary_is_written_as_it_was_read(path: Path, tmp_path: Path) -> None:
    Vocabulary.load(path).save(tmp_path / "dict.txt")
    assert (tmp_path / "dict.txt").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("prefix", TOKEN_FILES, ids=lambda prefix: prefix.name)
def test_token_files_are_written_as_they_were_read(prefix: Path, tmp_path: Path) -> None:
    table = open_tokens(prefix, 2**16)
    size = len(Vocabulary.load(next(prefix.parent.glob("dict*.txt"))))
    with IndexedWriter(tmp_path / "copy", vocabulary_size=size) as writer:
        writer.write(table.tokens, table.lengths)
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"copy{suffix}").read_bytes() == Path(f"{prefix}{suffix}").read_bytes()


def test_preprocessing_writes_what_fairseq_wrote_for_translation(tmp_path: Path) -> None:
    for language in ("en", "de"):
        copy_text(f"train.bpe.{language}", tmp_path / f"train.{language}")
        copy_text(f"valid.bpe.{language}", tmp_path / f"valid.{language}")
        copy_text(f"valid.bpe.{language}", tmp_path / f"test.{language}")
    config = TranslationConfig(
        data=str(tmp_path), source_lang="en", target_lang="de", tokenizer=TokenizerKind.whitespace
    )
    preprocess(TranslationTask(config), tmp_path / "data-bin")
    for path in TRANSLATION.glob("*.en-de.*"):
        assert (tmp_path / "data-bin" / path.name).read_bytes() == path.read_bytes(), path.name
    for path in TRANSLATION.glob("dict.*"):
        assert (tmp_path / "data-bin" / path.name).read_bytes() == path.read_bytes(), path.name


def test_preprocessing_writes_what_fairseq_wrote_for_language_modelling(tmp_path: Path) -> None:
    copy_text("train.bpe.en", tmp_path / "train.txt")
    copy_text("valid.bpe.en", tmp_path / "valid.txt")
    config = LanguageModelingConfig(data=str(tmp_path), tokenizer=TokenizerKind.whitespace)
    preprocess(LanguageModelingTask(config), tmp_path / "data-bin")
    for path in TEXT.iterdir():
        assert (tmp_path / "data-bin" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_data_bin_folder_of_fairseq_holds_the_text_that_it_was_made_from() -> None:
    task = TranslationTask(TranslationConfig(data=str(TRANSLATION)))
    task.setup()
    assert task.layout.languages == ("en", "de")
    lines = (TRANSLATION / "train.bpe.de").read_text(encoding="utf-8").splitlines()
    table = open_tokens(TRANSLATION / "train.en-de.de", len(task.target_vocabulary))
    decoded = [" ".join(task.target_vocabulary.symbol(number) for number in table[row]) for row in range(len(table))]
    assert decoded == [f"{line} </s>" for line in lines]


def test_the_direction_of_a_data_bin_folder_can_be_turned_round() -> None:
    forward = TranslationTask(TranslationConfig(data=str(TRANSLATION), source_lang="en", target_lang="de"))
    backward = TranslationTask(TranslationConfig(data=str(TRANSLATION), source_lang="de", target_lang="en"))
    forward.setup()
    backward.setup()
    assert np.array_equal(forward.dataset("valid").lengths, backward.dataset("valid").lengths[:, ::-1])
