"""The translation task."""

from __future__ import annotations

import gzip
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqtrain.data.demo import SIZES, english, german
from seqtrain.data.tokenizers import SentencePieceModel, TokenizerKind
from seqtrain.errors import ConfigError, DataError
from seqtrain.tasks.translation import TranslationConfig, TranslationTask


def write(folder: Path, split: str, *languages: str, num_lines: int = 10) -> None:
    for language in languages:
        text = "".join(f"{language} {number}\n" for number in range(num_lines))
        (folder / f"{split}.{language}").write_text(text)


def make_task(data: Path | str, **settings: Any) -> TranslationTask:
    return TranslationTask(TranslationConfig(data=str(data), tokenizer=TokenizerKind.whitespace, **settings))


def lines_of(task: TranslationTask, split: str) -> tuple[list[str], list[str]]:
    source, target = task.lines(split)
    return list(source), list(target)


def ready(data: Path | str, **settings: Any) -> TranslationTask:
    task = make_task(data, **settings)
    task.setup()
    return task


# Languages


def test_the_other_language_of_two_is_the_target(tmp_path: Path) -> None:
    write(tmp_path, "train", "en", "de")
    assert ready(tmp_path, source_lang="en").layout.languages == ("en", "de")
    assert ready(tmp_path, target_lang="en").layout.languages == ("de", "en")


@pytest.mark.parametrize(
    ("languages", "settings", "there"),
    [
        (("en", "de"), {}, "there are de-en, en-de"),
        (("en", "de", "fr"), {"source_lang": "en"}, "there are en-de, en-fr"),
        (("en", "de"), {"source_lang": "fr"}, "there are de-en, en-de"),
        (("en",), {}, "which has no train.SOURCE and train.TARGET"),
    ],
)
def test_languages_that_are_not_clear_are_asked_for(
    tmp_path: Path, languages: tuple[str, ...], settings: dict[str, str], there: str
) -> None:
    write(tmp_path, "train", *languages)
    with pytest.raises(DataError, match=f"cannot be told .*{there}") as raised:
        ready(tmp_path, **settings)
    assert raised.value.remedy == "set task.source_lang and task.target_lang"


# Splits


def test_any_split_that_has_files_is_one(tmp_path: Path) -> None:
    write(tmp_path, "train", "en", "de")
    write(tmp_path, "test.2016", "en", "de", num_lines=3)
    write(tmp_path, "lonely", "en")
    task = ready(tmp_path, source_lang="en")
    assert lines_of(task, "test.2016") == (["en 0", "en 1", "en 2"], ["de 0", "de 1", "de 2"])
    assert task.text_splits() == ["test.2016", "train", "valid"]


def test_a_missing_split_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    write(tmp_path, "train", "en", "de")
    write(tmp_path, "valid", "en", "de")
    with pytest.raises(DataError, match=r"has no files test\.en and test\.de \(nor \.gz, \.xz\)") as raised:
        ready(tmp_path, source_lang="en").load_dataset("test")
    assert raised.value.remedy == "its splits are: train, valid"


def test_a_folder_without_train_is_told_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"has no files train\.en and train\.de") as raised:
        ready(tmp_path, source_lang="en", target_lang="de", valid_fraction=0.0)
    assert raised.value.remedy == "files in the folder: notes.txt"


def test_files_may_be_packed(tmp_path: Path) -> None:
    write(tmp_path, "train", "en", "de")
    path = tmp_path / "train.de"
    path.with_name("train.de.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert lines_of(ready(tmp_path, source_lang="en"), "train")[1][0] == "de 0"


@pytest.mark.parametrize("name", ["valid", "val", "dev"])
def test_the_validation_split_may_have_another_usual_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, "train", "en", "de")
    write(tmp_path, name, "en", "de", num_lines=2)
    task = ready(tmp_path, source_lang="en")
    assert len(lines_of(task, "valid")[0]) == 2
    assert len(lines_of(task, "train")[0]) == 10
    assert task.text_splits() == ["train", "valid"]


def test_without_a_valid_split_the_end_of_train_is_taken_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "train", "en", "de")
    task = ready(tmp_path, source_lang="en", valid_fraction=0.25)
    with caplog.at_level(logging.INFO):
        assert lines_of(task, "valid") == (["en 7", "en 8", "en 9"], ["de 7", "de 8", "de 9"])
    assert "the last 3 pairs of train are taken" in caplog.text
    assert len(lines_of(task, "train")[0]) == 7


@pytest.mark.parametrize("num_lines", [2, 3, 11])
def test_a_valid_split_that_is_cut_has_a_pair_at_least(tmp_path: Path, num_lines: int) -> None:
    write(tmp_path, "train", "en", "de", num_lines=num_lines)
    task = ready(tmp_path, source_lang="en", valid_fraction=0.001)
    assert [len(task.dataset(split)) for split in ("train", "valid")] == [num_lines - 1, 1]


@pytest.mark.parametrize("valid_fraction", [0.0, 0.1])
def test_sides_of_different_length_are_refused_with_both_counts(tmp_path: Path, valid_fraction: float) -> None:
    write(tmp_path, "train", "en")
    write(tmp_path, "train", "de", num_lines=9)
    with pytest.raises(DataError, match=r"train\.en has 10 lines but .*train\.de has 9 lines"):
        ready(tmp_path, source_lang="en", target_lang="de", valid_fraction=valid_fraction)


def test_what_is_no_utf8_is_named(tmp_path: Path) -> None:
    write(tmp_path, "train", "en", "de")
    (tmp_path / "train.de").write_bytes(b"eins\n" * 9 + b"zw\xf6lf\n")
    with pytest.raises(DataError, match=r"train\.de:10: no valid UTF-8"):
        ready(tmp_path, source_lang="en", valid_fraction=0.0)


# The demo


def test_the_demo_corpus_is_made_by_itself() -> None:
    task = TranslationTask(
        TranslationConfig(data="demo:numbers", vocab_size=100, sentencepiece_model=SentencePieceModel.bpe)
    )
    task.setup()
    assert task.layout.languages == ("en", "de")
    assert {split: len(task.dataset(split)) for split in SIZES} == SIZES
    batch = task.inference_dataset([english(42)], [german(42)]).collate(np.array([0]))
    assert task.decode(batch.targets[0].numpy()) == "zweiundvierzig"
    assert batch.source_tokens is not None
    assert task.target_vocabulary.unk not in batch.source_tokens


def test_there_is_one_demo_corpus() -> None:
    with pytest.raises(ConfigError, match=r"task\.data=demo:words: there is no such demo corpus"):
        ready("demo:words", source_lang="en", target_lang="de")


# Inference and measures


@pytest.fixture
def task(tmp_path: Path) -> TranslationTask:
    write(tmp_path, "train", "en", "de")
    return ready(tmp_path, source_lang="en")


def test_lines_are_examples_in_their_order(task: TranslationTask) -> None:
    dataset = task.inference_dataset(["en 3", "", "en unheard 1"])
    assert dataset.lengths.tolist() == [[3, 1], [1, 1], [4, 1]]
    batch = dataset.collate(np.array([2]))
    assert batch.source_tokens is not None
    assert batch.source_tokens[0, 1] == task.target_vocabulary.unk
    assert batch.targets.tolist() == [[task.target_vocabulary.eos]]


def test_lines_may_have_targets(task: TranslationTask) -> None:
    batch = task.inference_dataset(["en 3"], ["de 3"]).collate(np.array([0]))
    assert task.decode(batch.targets[0].numpy()) == "de 3"


def test_positions_are_bounded_by_the_config(task: TranslationTask) -> None:
    assert task.max_positions == (1024, 1024)


def test_text_is_measured_by_bleu_chrf_and_exact_matches(task: TranslationTask) -> None:
    references = ["ein kleines rotes haus steht hier", "die katze sitzt auf dem dach"]
    assert task.measure_text(references, references) == {
        "bleu": pytest.approx(100.0),
        "chrf": pytest.approx(100.0),
        "exact_match": pytest.approx(100.0),
    }
    measures = task.measure_text(["ein haus steht hier und dort", "die katze sitzt auf dem dach"], references)
    assert 0 < measures["bleu"] < 100


def test_the_tokenizer_of_bleu_is_the_configs(tmp_path: Path) -> None:
    write(tmp_path, "train", "en", "de")
    hypotheses, references = ["a b c d e f."], ["a b c d e f ."]
    assert make_task(tmp_path).measure_text(hypotheses, references)["bleu"] == pytest.approx(100.0)
    assert make_task(tmp_path, bleu_tokenizer="none").measure_text(hypotheses, references)["bleu"] < 100


def test_perplexity_is_the_exponential_of_the_mean(task: TranslationTask) -> None:
    sums = {"loss": 9.0, "nll_loss": 4 * math.log(3), "num_tokens": 4.0}
    assert task.measure_sums(sums) == {"perplexity": pytest.approx(3.0)}
    assert task.measure_sums({"loss": 9.0, "num_tokens": 4.0}) == {}
