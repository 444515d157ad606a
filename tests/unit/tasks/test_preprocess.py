"""Text to data-bin folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqtrain.data.tokenizers import TokenizerKind
from seqtrain.errors import ConfigError, DataError
from seqtrain.tasks import Task
from seqtrain.tasks.preprocess import preprocess
from tests.unit.tasks.corpus import ENGLISH, GERMAN, files_of, make_task, ready, text_of, write


def test_preprocessing_writes_every_split(folder: Path, tmp_path: Path) -> None:
    write(folder, "test.2016", ENGLISH[:1], GERMAN[:1])
    preprocess(make_task(folder), tmp_path / "data-bin")
    task = ready(tmp_path / "data-bin")
    assert text_of(task, "test.2016") == GERMAN[:1]


def test_preprocessing_writes_the_split_that_is_cut_from_train(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("valid.*"):
        path.unlink()
    preprocess(make_task(folder, valid_fraction=0.4), tmp_path / "data-bin")
    assert text_of(ready(tmp_path / "data-bin"), "valid") == ["die <unk> katze", "haus"]
    assert text_of(ready(tmp_path / "data-bin"), "train") == GERMAN[:3]


def test_nothing_is_written_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data-bin").mkdir()
    (tmp_path / "data-bin" / "precious").write_text("")
    with pytest.raises(DataError, match="there is something already"):
        preprocess(make_task(folder), tmp_path / "data-bin")
    assert files_of(tmp_path / "data-bin") == {"precious": b""}


def test_preprocessing_that_fails_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "valid.de").write_bytes(b"eins\nzw\xf6lf\n")
    with pytest.raises(DataError, match=r"valid\.de:2: no valid UTF-8"):
        preprocess(make_task(folder), tmp_path / "data-bin")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_data_bin_folder_is_not_preprocessed_again(folder: Path, tmp_path: Path) -> None:
    preprocess(make_task(folder), tmp_path / "data-bin")
    with pytest.raises(DataError, match="is a data-bin folder already"):
        preprocess(make_task(tmp_path / "data-bin"), tmp_path / "again")


def test_preprocessing_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        preprocess(make_task(folder, tokenizer=TokenizerKind.sentencepiece), tmp_path / name)
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")


def test_a_place_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/data-bin: cannot be written"):
        preprocess(make_task(folder), tmp_path / "file" / "data-bin")


def test_a_task_without_text_cannot_be_preprocessed(folder: Path, tmp_path: Path) -> None:
    class Other(Task):
        """Reads no text."""

        setup = save_assets = load_assets = load_dataset = None  # type: ignore[assignment]

    with pytest.raises(ConfigError, match="has no text to preprocess"):
        preprocess(Other(make_task(folder).config), tmp_path / "data-bin")
