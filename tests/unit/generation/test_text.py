"""Text in, text out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from seqtrain.config.root import BatchingConfig, GenerationConfig
from seqtrain.errors import ConfigError
from seqtrain.generation.generator import SequenceGenerator
from seqtrain.generation.text import TextGenerator
from seqtrain.models.base import Model
from seqtrain.testing.fakes import collate
from tests.unit.generation.fakes import LatticeLM, LatticeModel, LetterTask, RandomModel
from tests.unit.generation.reference import EOS

TASK = LetterTask(num_letters=26)
LM_TASK = LetterTask(num_letters=26, has_sources=False)
LINES = ["abc", "", "zyxwvuts", "a", "hello", "abc"]


def text_generator(
    model: Model, *, task: LetterTask = TASK, batching: BatchingConfig | None = None, **options: Any
) -> TextGenerator:
    return TextGenerator(
        task,
        [model],
        generation=GenerationConfig(**{"max_len_b": 6, "beam_size": 2, **options}),
        batching=batching or BatchingConfig(),
        device=torch.device("cpu"),
        autocast=nullcontext,
    )


def test_results_stand_in_the_order_of_the_lines() -> None:
    model = RandomModel(TASK, seed=1)
    batching = BatchingConfig(max_tokens=20, required_batch_size_multiple=1)
    found = text_generator(model, batching=batching, nbest=2).generate_lines(LINES)
    generator = SequenceGenerator([model], TASK.target_vocabulary, GenerationConfig(max_len_b=6, beam_size=2, nbest=2))
    for line, hypotheses in zip(LINES, found, strict=True):
        expected = generator.generate(collate([([*TASK.target_vocabulary.encode(list(line))], [EOS])]))[0]
        assert [one.tokens.tolist() for one in hypotheses] == [one.tokens.tolist() for one in expected]
        assert [one.text for one in hypotheses] == [TASK.decode(one.tokens.numpy()) for one in expected]
        assert [one.score for one in hypotheses] == pytest.approx([one.score for one in expected], abs=1e-5)


def test_translate_gives_the_best_text_of_each_line() -> None:
    generator = text_generator(RandomModel(TASK, seed=1))
    assert generator.translate(LINES) == [hypotheses[0].text for hypotheses in generator.generate_lines(LINES)]


def test_no_lines_are_no_texts() -> None:
    assert text_generator(RandomModel(TASK, seed=1)).translate([]) == []


def test_a_language_models_text_begins_with_the_line() -> None:
    model = LatticeLM({"</s>": {"a": 1.0}, "a": {"b": 1.0}, "b": {"c": 1.0}, "c": {"</s>": 1.0}}, LM_TASK)
    generator = text_generator(model, task=LM_TASK)
    assert generator.continue_(["za", "", "bb"]) == ["zabc", "abc", "bbc"]
    assert generator.generate_lines(["za"])[0][0].tokens.tolist() == [5, 6, EOS]


def test_a_line_that_the_model_cannot_read_is_counted_and_its_text_is_empty(caplog: pytest.LogCaptureFixture) -> None:
    generator = text_generator(RandomModel(TASK, seed=1, max_positions=(5, 64)), nbest=2)
    with caplog.at_level(logging.WARNING):
        found = generator.generate_lines(["abc", "abcdefgh", "abcd"])
    assert "1 of 3 sources are longer than the 5 tokens that the model reads" in caplog.text
    assert [len(hypotheses) for hypotheses in found] == [2, 2, 2]
    assert [one.text for one in found[1]] == ["", ""]
    assert found[1][0].score == -math.inf
    assert found[0][0].score > -math.inf
    assert found[2][0].score > -math.inf


def test_a_line_that_is_larger_than_a_batch_is_written_by_itself() -> None:
    model = RandomModel(TASK, seed=1)
    expected = text_generator(model).translate(LINES)
    assert text_generator(model, batching=BatchingConfig(max_tokens=4)).translate(LINES) == expected


def test_many_short_lines_are_written_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RandomModel(TASK, seed=1)
    expected = text_generator(model).translate(LINES)
    monkeypatch.setattr(SequenceGenerator, "max_sentences", 2)
    generator = text_generator(model)
    batches = list(generator._batches(generator.generator, TASK.inference_dataset(LINES)))
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert generator.translate(LINES) == expected


def test_there_are_always_nbest_hypotheses() -> None:
    model = LatticeModel({"</s>": {"a": 1.0}, "a": {"a": 1.0}}, TASK)  # never ends
    (hypotheses,) = text_generator(model, nbest=2).generate_lines(["abc"])
    assert [(one.text, one.score) for one in hypotheses] == [("", -math.inf)] * 2


def test_a_prefix_comes_from_the_targets() -> None:
    found = text_generator(RandomModel(TASK, seed=1), prefix_size=2).generate_lines(
        LINES, [line[::-1] for line in LINES]
    )
    assert [hypotheses[0].text[:2] for hypotheses in found] == [line[::-1][:2] for line in LINES]


def test_a_prefix_without_targets_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"prefix_size=2, but there are no references"):
        text_generator(RandomModel(TASK, seed=1), prefix_size=2).translate(LINES)


def test_targets_are_scored_in_the_order_of_the_lines() -> None:
    model = LatticeModel({"</s>": {"a": 2 / 3, "b": 1 / 3}, "a": {"b": 1.0}, "b": {"</s>": 1.0}}, TASK)
    found = text_generator(model).score_lines(["x", "xyz"], ["ab", "b"])
    assert [one.text for one in found] == ["ab", "b"]
    assert [one.score for one in found] == pytest.approx([math.log(2 / 3) / 3, math.log(1 / 3) / 2], abs=1e-6)


def test_models_run_in_the_number_format_of_the_context() -> None:
    entered = []

    @contextmanager
    def autocast() -> Iterator[None]:
        entered.append(True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            yield

    generator = text_generator(RandomModel(TASK, seed=1))
    generator.autocast = autocast
    generator.translate(LINES)
    assert entered == [True]


def test_decoding_in_the_middle_of_training_leaves_no_trace() -> None:
    model = RandomModel(TASK, seed=1).train()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    generator = text_generator(model, sampling=True)
    first = generator.translate(LINES)
    assert generator.translate(LINES) == first
    assert model.training
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index] # noqa: NPY002
