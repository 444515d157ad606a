"""What the tasks that learn from text have in common."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from seqtrain.data.indexed import IndexedWriter
from seqtrain.data.text import Lines
from seqtrain.data.tokenizers import TokenizerKind
from seqtrain.errors import CheckpointError, ConfigError, DataError
from seqtrain.tasks.preprocess import preprocess
from seqtrain.tasks.translation import TranslationConfig, TranslationTask
from tests.unit.tasks.corpus import ENGLISH, GERMAN, make_task, ready, text_of, write

# Text


def test_text_is_read_without_a_preprocessing_command(folder: Path) -> None:
    task = ready(folder)
    assert text_of(task, "train") == GERMAN
    assert text_of(task, "valid") == GERMAN[:2]
    assert task.references("valid") == GERMAN[:2]


def test_text_is_tokenized_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ready(folder)
    first.dataset("valid")
    monkeypatch.setattr("seqtrain.data.preparation.tokenize", None)
    second = ready(folder)
    for split in ("train", "valid"):
        assert second.dataset(split).fingerprint == first.dataset(split).fingerprint


@pytest.mark.parametrize("settings", [{"joined_vocabulary": False}, {"min_count": 2}, {"remove_bpe": "@@ "}])
def test_other_settings_or_text_are_tokenized_apart(folder: Path, settings: dict[str, Any]) -> None:
    def prepared() -> set[Path]:
        return set((folder.parent / "cache" / "prepared").iterdir())

    ready(folder)
    before = prepared()
    ready(folder, **settings)
    assert len(prepared() - before) == 1
    write(folder, "train", [*ENGLISH[:-1], "houses"])
    ready(folder)
    assert len(prepared() - before) == 2


def test_a_moved_folder_is_found_in_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ready(folder)
    folder.rename(folder.with_name("moved"))
    monkeypatch.setattr("seqtrain.data.preparation.tokenize", None)
    after = ready(folder.with_name("moved"))
    assert after.target_vocabulary.fingerprint == before.target_vocabulary.fingerprint


def test_equal_vocabularies_are_one_object(folder: Path) -> None:
    joined, apart = ready(folder), ready(folder, joined_vocabulary=False)
    assert joined.source_vocabulary is joined.target_vocabulary
    assert apart.source_vocabulary is not apart.target_vocabulary
    assert "katze" not in apart.codecs[0].vocabulary


def test_at_most_so_many_symbols_are_kept(folder: Path) -> None:
    assert len(ready(folder, vocab_size=7, joined_vocabulary=False).target_vocabulary) == 8


def test_a_subclass_may_take_its_lines_from_elsewhere(folder: Path) -> None:
    class Upper(TranslationTask):
        def read_split(self, split: str) -> tuple[Lines, Lines]:
            source, _ = super().read_split(split)
            return source, [line.upper() for line in source]

    task = Upper(make_task(folder).config)
    task.setup()
    assert text_of(task, "train") == [line.upper() for line in ENGLISH]
    assert task.references("valid") == [line.upper() for line in ENGLISH[:2]]


def test_a_subclass_must_give_as_many_lines_on_each_side(folder: Path) -> None:
    class Short(TranslationTask):
        def read_split(self, split: str) -> tuple[Lines, Lines]:
            return ["a", "b"], ["a"]

    with pytest.raises(DataError, match="train in en has 2 lines but train in de has 1 lines"):
        Short(make_task(folder).config).setup()


def test_joints_are_no_matter_of_sentencepieces(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is for text that is cut into pieces already"):
        ready(folder, tokenizer=TokenizerKind.sentencepiece, remove_bpe="@@ ")


# Bad folders


def test_a_missing_folder_is_named_with_the_one_that_may_be_meant(folder: Path) -> None:
    with pytest.raises(DataError, match="tekst: there is no such folder") as raised:
        ready(folder.with_name("tekst"))
    assert raised.value.remedy == "did you mean text?"


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder is empty"):
        ready(tmp_path)


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(DataError, match=r"train\.en: there is no such folder"):
        ready(folder / "train.en")


def test_an_empty_split_is_named_by_who_asks_for_it(folder: Path) -> None:
    write(folder, "test", [], [])
    task = ready(folder)
    with pytest.raises(DataError, match="test is empty"):
        task.load_dataset("test")
    write(folder, "train", [], [])
    with pytest.raises(DataError, match="train is empty"):
        ready(folder)


# Checkpoints


def test_a_checkpoint_folder_brings_all_but_the_data(folder: Path, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    trained = ready(folder, tokenizer=TokenizerKind.sentencepiece, vocab_size=40)
    trained.save_assets(assets)
    assert all(path.is_file() for path in assets.iterdir())
    loaded = make_task(folder, tokenizer=TokenizerKind.sentencepiece, vocab_size=40, source_lang=None, target_lang=None)
    loaded.load_assets(assets)
    assert loaded.layout == trained.layout
    assert [codec.fingerprint for codec in loaded.codecs] == [codec.fingerprint for codec in trained.codecs]
    for split in ("train", "valid"):
        assert text_of(loaded, split) == text_of(trained, split)


def test_other_text_is_encoded_with_the_vocabulary_of_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    trained = ready(folder)
    assets, other = tmp_path / "assets", tmp_path / "other"
    assets.mkdir()
    other.mkdir()
    trained.save_assets(assets)
    write(other, "test", ["a dog"], ["katze hund"])
    loaded = make_task(other)
    loaded.load_assets(assets)
    assert text_of(loaded, "test") == ["katze <unk>"]


def test_a_folder_without_vocabularies_is_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no vocabularies"):
        make_task(folder).load_assets(tmp_path)


def test_a_damaged_vocabulary_of_a_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    ready(folder).save_assets(tmp_path)
    (tmp_path / "dict.de.txt").write_text("a\n")
    with pytest.raises(CheckpointError, match=r"dict\.de\.txt:1: expected a symbol"):
        make_task(folder).load_assets(tmp_path)


# Data-bin folders


@pytest.fixture
def data_bin(folder: Path, tmp_path: Path) -> Path:
    preprocess(make_task(folder), tmp_path / "data-bin", num_workers=1)
    return tmp_path / "data-bin"


def test_a_data_bin_folder_holds_what_the_text_does(folder: Path, data_bin: Path) -> None:
    from_text, from_bin = ready(folder), ready(data_bin)
    for split in ("train", "valid"):
        assert text_of(from_bin, split) == text_of(from_text, split)
    assert from_bin.references("valid") == GERMAN[:2]
    assert [codec.fingerprint for codec in from_bin.codecs] == [codec.fingerprint for codec in from_text.codecs]


def test_a_data_bin_folder_tells_its_languages_and_brings_its_tokenizer(folder: Path, tmp_path: Path) -> None:
    preprocess(make_task(folder, tokenizer=TokenizerKind.characters), tmp_path / "data-bin")
    task = TranslationTask(TranslationConfig(data=str(tmp_path / "data-bin")))
    task.setup()
    assert task.layout.languages == ("en", "de")
    assert text_of(task, "train") == GERMAN


def test_a_data_bin_folder_of_fairseq_is_read_with_white_space(data_bin: Path) -> None:
    for path in (*data_bin.glob("*.json"),):
        path.unlink()
    task = TranslationTask(TranslationConfig(data=str(data_bin)))
    task.setup()
    assert text_of(task, "train") == GERMAN


def test_unknown_words_of_a_reference_equal_no_hypothesis(folder: Path, tmp_path: Path) -> None:
    write(folder, "test", ["a"], ["nie gesehen haus"])
    preprocess(make_task(folder), tmp_path / "again")
    task = ready(tmp_path / "again")
    assert task.references("test") == ["<<unk>> <<unk>> haus"]
    assert text_of(task, "test") == ["<unk> <unk> haus"]


def test_without_a_valid_split_the_end_of_train_is_taken(data_bin: Path) -> None:
    for path in data_bin.glob("valid.*"):
        path.unlink()
    task = ready(data_bin, valid_fraction=0.4)
    assert text_of(task, "train") == GERMAN[:3]
    assert text_of(task, "valid") == GERMAN[3:]
    assert task.references("valid") == GERMAN[3:]
    whole = ready(data_bin, valid_fraction=0.0)
    assert text_of(whole, "train") == GERMAN
    with pytest.raises(DataError, match=r"has no files valid\.en-de\.en\.idx"):
        whole.load_dataset("valid")


def test_a_missing_split_of_a_data_bin_folder_is_named_with_those_that_there_are(data_bin: Path) -> None:
    with pytest.raises(DataError, match=r"has no files test\.en-de\.en\.idx/\.bin") as raised:
        ready(data_bin).load_dataset("test")
    assert raised.value.remedy == "its splits are: train, valid"


def test_a_data_bin_folder_of_other_vocabularies_does_not_fit_a_checkpoint(
    folder: Path, data_bin: Path, tmp_path: Path
) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    ready(folder, min_count=2).save_assets(assets)
    task = make_task(data_bin)
    task.load_assets(assets)
    with pytest.raises(DataError, match=r"dict\.en\.txt: its 16 symbols are not the 16 of the model|not the 8 of"):
        task.load_dataset("train")


def test_sides_of_a_data_bin_folder_of_different_length_are_refused(data_bin: Path) -> None:
    (data_bin / "dataset.json").unlink()
    for suffix in ("bin", "idx"):
        shutil.copy(data_bin / f"valid.en-de.en.{suffix}", data_bin / f"train.en-de.en.{suffix}")
    with pytest.raises(DataError, match="train has 2 and 5 sentences on its two sides"):
        ready(data_bin).load_dataset("train")


def test_an_empty_split_of_a_data_bin_folder_is_named(data_bin: Path) -> None:
    (data_bin / "dataset.json").unlink()
    for language in ("en", "de"):
        with IndexedWriter(data_bin / f"valid.en-de.{language}", vocabulary_size=8):
            pass
    with pytest.raises(DataError, match="data-bin: valid is empty"):
        ready(data_bin).load_dataset("valid")


def test_a_flipped_bit_is_found(data_bin: Path) -> None:
    path = data_bin / "train.en-de.de.bin"
    content = bytearray(path.read_bytes())
    content[4] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.en-de\.de\.bin: its content is not what was written"):
        ready(data_bin).load_dataset("train")
