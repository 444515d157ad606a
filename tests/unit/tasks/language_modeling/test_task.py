"""The language-modelling task."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqtrain.data.break_mode import BreakMode
from seqtrain.data.tokenizers import TokenizerKind
from seqtrain.errors import DataError
from seqtrain.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from seqtrain.tasks.preprocess import preprocess

TEXT = "to be, or not\nto be:\n\nthat is the question.\nto be or not"
SENTENCES = "the cat sat\na dog\n\nthe end\n"


def make_task(data: Path, **settings: Any) -> LanguageModelingTask:
    return LanguageModelingTask(LanguageModelingConfig(data=str(data), **settings))


def ready(data: Path, **settings: Any) -> LanguageModelingTask:
    task = make_task(data, **settings)
    task.setup()
    return task


def whole_text(task: LanguageModelingTask, split: str) -> str:
    """The text of all blocks of a split, joined."""
    dataset = task.load_dataset(split)
    blocks = [dataset.collate(np.array([number])).targets[0].numpy() for number in range(len(dataset))]
    return task.decode(np.concatenate(blocks)) if blocks else ""


@pytest.mark.parametrize("kind", [TokenizerKind.characters, TokenizerKind.bytes])
def test_a_stream_keeps_every_character_and_is_cut_anywhere(tmp_path: Path, kind: TokenizerKind) -> None:
    (tmp_path / "input.txt").write_text(TEXT)
    task = ready(tmp_path, tokenizer=kind, tokens_per_sample=7)
    stop = int(len(TEXT) * 0.9)
    assert whole_text(task, "train") == TEXT[:stop]
    assert whole_text(task, "valid") == TEXT[stop:]
    assert task.dataset("train").lengths[:-1, 1].tolist() == [7] * (stop // 7)
    assert task.dataset("valid").lengths[:, 1].sum() == len(TEXT) - stop


def test_the_input_of_a_stream_begins_behind_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text(TEXT)
    task = ready(tmp_path, tokenizer=TokenizerKind.characters, tokens_per_sample=7)
    newline = task.target_vocabulary.index("<newline>")
    assert task.dataset("train").collate(np.array([0])).previous_tokens[0, 0] == newline
    assert task.inference_dataset(["to"]).collate(np.array([0])).previous_tokens[0, 0] == newline


def test_a_stream_without_line_breaks_begins_behind_the_end_symbol(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("abcabcabcabc")
    task = ready(tmp_path, tokenizer=TokenizerKind.characters)
    assert task.first_token == task.target_vocabulary.eos


def test_the_lines_of_words_are_sentences(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"wiki.{split}.tokens").write_text(SENTENCES)
    task = ready(tmp_path, tokenizer=TokenizerKind.whitespace, sample_break_mode=BreakMode.eos)
    for split in ("train", "valid", "test"):
        assert task.dataset(split).lengths[:, 1].tolist() == [4, 3, 1, 3]
    assert task.text_splits() == ["test", "train", "valid"]


def test_the_last_lines_of_one_text_are_the_valid_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "book.txt"
    path.write_text("".join(f"line {number}\n" for number in range(20)))
    task = ready(path, tokenizer=TokenizerKind.whitespace)
    with caplog.at_level(logging.INFO):
        assert task.dataset("valid").lengths[:, 1].sum() == 2 * 3
    assert task.dataset("train").lengths[:, 1].sum() == 18 * 3
    assert "its last 2 lines are taken" in caplog.text
    assert task.text_splits() == ["train", "valid"]


def test_a_train_file_alone_gives_its_end_to_the_valid_split(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("abcd" * 5)
    task = ready(tmp_path, tokenizer=TokenizerKind.characters, valid_fraction=0.25)
    assert whole_text(task, "train") == "abcd" * 3 + "abc"
    assert whole_text(task, "valid") == "dabcd"


def test_without_a_fraction_nothing_is_cut(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text(TEXT)
    task = ready(tmp_path, tokenizer=TokenizerKind.characters, valid_fraction=0.0)
    assert whole_text(task, "train") == TEXT
    assert task.text_splits() == ["train"]
    with pytest.raises(DataError, match=r"has no valid\.txt"):
        task.load_dataset("valid")


def test_the_task_reads_longer_texts_than_a_block_in_no_batch(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text(TEXT)
    assert make_task(tmp_path, tokens_per_sample=64).max_positions == (2**31 - 1, 64)


def test_a_data_bin_folder_of_characters_is_a_stream(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "input.txt").write_text(TEXT)
    preprocess(make_task(tmp_path / "text", tokenizer=TokenizerKind.characters), tmp_path / "data-bin")
    assert sorted(path.name for path in (tmp_path / "data-bin").iterdir()) == [
        "dataset.json",
        "dict.txt",
        "languages.json",
        "tokenizer.json",
        "train.bin",
        "train.idx",
        "valid.bin",
        "valid.idx",
    ]
    task = ready(tmp_path / "data-bin")
    assert task.is_stream
    assert whole_text(task, "train") + whole_text(task, "valid") == TEXT


def test_a_beginning_is_followed_by_a_place_for_the_next_token(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(SENTENCES * 5)
    for kind, beginning in ((TokenizerKind.whitespace, "the cat"), (TokenizerKind.characters, "cat")):
        task = ready(tmp_path, tokenizer=kind)
        numbers = [task.target_vocabulary.index(symbol) for symbol in task.codecs[0].tokenizer.tokenize(beginning)]
        batch = task.inference_dataset([beginning, ""]).collate(np.array([0, 1]))
        pad, eos = task.target_vocabulary.pad, task.target_vocabulary.eos
        width = len(numbers)
        assert batch.previous_tokens.tolist() == [[task.first_token, *numbers], [task.first_token] + [pad] * width]
        assert batch.targets.tolist() == [[*numbers, eos], [eos] + [pad] * width]


def test_texts_to_score_hold_what_follows_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(SENTENCES * 5)
    for kind, end in ((TokenizerKind.whitespace, 1), (TokenizerKind.characters, 0)):
        task = ready(tmp_path, tokenizer=kind)
        separator = "" if end == 0 else " "
        batch = task.inference_dataset([f"the{separator}"], ["cat"]).collate(np.array([0]))
        assert task.decode(batch.targets[0].numpy()) == f"the{separator}cat"
        assert int((batch.targets == task.target_vocabulary.eos).sum()) == end


def test_a_text_has_no_references(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text(TEXT)
    assert make_task(tmp_path).references("valid") is None


def test_the_information_in_a_token_is_measured(tmp_path: Path) -> None:
    sums = {"loss": 1.0, "nll_loss": 10 * math.log(4), "num_tokens": 10.0}
    assert make_task(tmp_path).measure_sums(sums) == {
        "perplexity": pytest.approx(4.0),
        "nats_per_token": pytest.approx(math.log(4)),
        "bits_per_token": pytest.approx(2.0),
    }
    assert make_task(tmp_path).measure_sums({"loss": 1.0, "num_tokens": 10.0}) == {}
