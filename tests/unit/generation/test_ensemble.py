"""Several models that decide together."""

from __future__ import annotations

import pytest
import torch

from seqtrain.config.root import GenerationConfig
from seqtrain.generation.generator import Generator, Hypothesis, Scorer, SequenceGenerator
from seqtrain.generation.predictions import mean_of_probabilities
from seqtrain.models.base import Model
from seqtrain.testing.fakes import collate
from tests.unit.generation.fakes import LatticeModel, LetterTask, RandomModel
from tests.unit.generation.reference import EOS

TASK = LetterTask(num_letters=8)
BATCH = collate([([4, 5, EOS], [4, EOS]), ([6, EOS], [5, 6, EOS]), ([7, 5, 4, 4, EOS], [4, 4, EOS])])
CONFIG = GenerationConfig(beam_size=3, nbest=3, max_len_b=6, length_penalty=0.7)


def generators(models: list[Model]) -> list[Generator]:
    vocabulary = TASK.target_vocabulary
    return [SequenceGenerator(models, vocabulary, CONFIG), Scorer(models, vocabulary)]


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.tokens.tolist() for one in ours] == [one.tokens.tolist() for one in theirs]
        assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-5)


def test_probabilities_are_averaged() -> None:
    first, second = torch.tensor([0.9, 0.1, 0.0]), torch.tensor([0.2, 0.2, 0.6])
    mean = mean_of_probabilities([first.log(), second.log()]).exp()
    torch.testing.assert_close(mean, torch.tensor([0.55, 0.15, 0.3]))


def test_an_ensemble_of_a_model_with_itself_is_the_model() -> None:
    model = RandomModel(TASK, seed=5)
    for single, triple in zip(generators([model]), generators([model] * 3), strict=True):
        assert_same(triple.generate(BATCH), single.generate(BATCH))


def test_two_models_write_what_both_find_probable() -> None:
    # a, b and c each; b is nobody's first choice
    first = LatticeModel({"</s>": {"a": 0.55, "b": 0.45}}, TASK)
    second = LatticeModel({"</s>": {"c": 0.55, "b": 0.45}}, TASK)
    found = SequenceGenerator([first, second], TASK.target_vocabulary, CONFIG).generate(BATCH)
    assert TASK.decode(found[0][0].tokens.numpy()) == "b"


def test_the_score_of_a_target_is_that_of_the_mean_probability() -> None:
    first = LatticeModel({"</s>": {"a": 0.5, "b": 0.5}}, TASK)
    second = LatticeModel({"</s>": {"a": 0.1, "b": 0.9}}, TASK)
    (hypothesis,) = Scorer([first, second], TASK.target_vocabulary).generate(BATCH)[0]
    torch.testing.assert_close(hypothesis.positional_scores.exp(), torch.tensor([0.3, 1.0]))
