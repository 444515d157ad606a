"""The report on a corpus of a few lines, every figure of which can be counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from seqtrain.config.root import BatchingConfig, VerifyDataConfig
from seqtrain.data.tokenizers import TokenizerKind
from seqtrain.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from seqtrain.tasks.preprocess import preprocess
from seqtrain.tasks.text import TextTask
from seqtrain.verification.data import DataReport, DataReporter, SplitReport
from seqtrain.verification.examples import Example
from seqtrain.verification.figures import Overlap, PairFigures
from tests.shared import shared
from tests.unit.tasks.corpus import make_task, write

TRAIN = (
    ("a red house", "ein rotes haus"),
    ("the cat", "die katze"),
    ("the cat", "die katze"),  # the pair again
    ("ok", "ok"),  # a copy
    ("", "leer"),  # an empty source
    ("one two three four five six seven", "eins"),  # 8 tokens to 2, the end symbols included
    ("bad \ufffd", "gut\x01"),  # characters that smell
)
VALID = (
    ("the cat", "die katze"),  # a pair of train
    ("the cat", "eine katze"),  # its source is in train; "eine" is not
    ("a dog", "ein rotes haus"),  # its target is in train; "dog" is not
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    write(folder, "train", *zip(*TRAIN, strict=True))
    write(folder, "valid", *zip(*VALID, strict=True))
    write(folder, "test", ["a house"], ["haus"])
    return folder


def report_on(task: TextTask, **settings: Any) -> DataReport:
    task.setup()
    return DataReporter(task, VerifyDataConfig(task=task.config, **settings)).report()


def test_each_language_of_each_split_is_counted(corpus: Path) -> None:
    report = report_on(make_task(corpus))
    assert (report.form, report.tokenizers) == ("text", {"en": "whitespace", "de": "whitespace"})
    assert [split.name for split in report.splits] == ["train", "valid", "test"]
    train, valid, test = (split.sides for split in report.splits)
    assert [side.num_lines for side in (*train, *valid, *test)] == [7, 7, 3, 3, 1, 1]
    # with the end symbols: 4 + 3 + 3 + 2 + 1 + 8 + 3 and 4 + 3 + 3 + 2 + 2 + 2 + 2
    assert [side.num_tokens for side in (*train, *valid, *test)] == [24, 18, 9, 10, 3, 2]
    assert [side.num_unknown for side in (*train, *valid, *test)] == [0, 0, 1, 1, 0, 0]
    assert [side.num_empty for side in train] == [1, 0]
    assert [side.num_duplicates for side in (*train, *valid)] == [1, 1, 1, 0]
    assert [side.num_replacement for side in train] == [1, 0]
    assert [side.num_control for side in train] == [0, 1]
    assert [side.max_length for side in train] == [8, 4]


def test_pairs_are_counted(corpus: Path) -> None:
    train = report_on(make_task(corpus)).splits[0]
    # ratios 4:4 3:3 3:3 2:2 1:2 8:2 3:2
    assert train.pairs == PairFigures(num_duplicates=1, num_copies=1, median_ratio=1.0, num_uneven=1)


def test_what_is_in_train_as_well_is_counted(corpus: Path) -> None:
    train, valid, test = report_on(make_task(corpus)).splits
    assert train.overlap is None
    assert valid.overlap == Overlap(lines={"en": 2, "de": 2}, pairs=1)
    assert test.overlap == Overlap(lines={"en": 0, "de": 0}, pairs=0)


def test_lines_to_look_at_are_shown_with_their_numbers(corpus: Path) -> None:
    train, valid, _ = report_on(make_task(corpus), num_shown=1).splits
    assert train.examples == [
        Example(what="longest: 8 tokens", language="en", line=6, texts=["one two three four five six seven"]),
        Example(what="empty", language="en", line=5, texts=[""]),
        Example(what="U+FFFD", language="en", line=7, texts=["bad \ufffd"]),
        Example(what="longest: 4 tokens", language="de", line=1, texts=["ein rotes haus"]),
        Example(what="control character", language="de", line=7, texts=["gut\x01"]),
        Example(what="uneven: 8 and 2 tokens", language="", line=6, texts=[TRAIN[5][0], TRAIN[5][1]]),
        Example(what="source = target", language="", line=4, texts=["ok", "ok"]),
    ]
    assert Example(what="in train", language="", line=1, texts=["the cat", "die katze"]) in valid.examples


def test_a_validation_split_that_is_cut_from_train_has_the_line_numbers_of_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    write(folder, "train", *zip(*TRAIN, strict=True))
    valid = report_on(make_task(folder, valid_fraction=0.3), num_shown=1).splits[1]
    assert valid.sides[0].num_lines == 3
    assert valid.examples[0].line == 6


def without_text(split: SplitReport) -> dict[str, Any]:
    figures = dataclasses.asdict(split)
    del figures["examples"]
    return figures


def test_a_data_bin_folder_has_the_figures_of_its_text(corpus: Path, tmp_path: Path) -> None:
    preprocess(make_task(corpus), tmp_path / "bin")
    text, tokens = report_on(make_task(corpus)), report_on(make_task(tmp_path / "bin"))
    assert tokens.form == "data-bin"
    assert list(map(without_text, tokens.splits)) == list(map(without_text, text.splits))
    assert tokens.splits[0].examples[-1] == text.splits[0].examples[-1]


def test_the_limits_of_batches_filter_and_are_reported(corpus: Path) -> None:
    report = report_on(make_task(corpus, max_source_positions=7), batching=BatchingConfig(max_tokens=8))
    batches = report.splits[0].batches
    assert batches.num_examples == 6
    assert batches.filtered == {"source longer than 7 tokens": 1}


def test_a_stream_of_characters_is_reported_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("to be\n\nor not\nto be\n", encoding="utf-8")
    config = LanguageModelingConfig(
        data=str(tmp_path), tokenizer=TokenizerKind.characters, valid_fraction=0.3, cache=str(tmp_path / "cache")
    )
    train, valid = report_on(LanguageModelingTask(config), num_shown=1).splits
    (side,) = train.sides  # 20 characters, of which 14 are for training: the first three lines
    assert (side.num_lines, side.num_tokens, side.num_empty) == (3, 14, 1)
    assert train.pairs is None
    assert valid.overlap == Overlap(lines={"": 1}, pairs=None)
    assert valid.examples[-1] == Example(what="in train", language="", line=4, texts=["to be"])


def test_multi30k_is_as_its_publishers_say() -> None:
    data = shared("data/multi30k/bpe-en-de")
    report = report_on(make_task(data, remove_bpe="@@ "), num_shown=0)
    assert [(split.name, split.sides[0].num_lines) for split in report.splits] == [
        ("train", 29_000),
        ("valid", 1_014),
        ("test.2016", 1_000),
        ("test.2017", 1_000),
        ("test.coco", 461),
    ]
    assert report.vocabularies == {"en": 9_712, "de": 9_712}
    assert all(side.num_empty == 0 for split in report.splits for side in split.sides)
