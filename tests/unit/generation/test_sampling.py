"""Sampling."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from seqtrain.config.root import GenerationConfig
from seqtrain.data.batch import Batch
from seqtrain.generation.generator import Hypothesis, SequenceGenerator
from seqtrain.generation.sampling import _mix, _signed, sample, uniform_draws
from seqtrain.testing.fakes import collate
from tests.unit.generation.fakes import LatticeModel, LetterTask, RandomModel
from tests.unit.generation.reference import EOS

TASK = LetterTask(num_letters=8)
PROBABILITIES = torch.tensor([0.05, 0.4, 0.1, 0.25, 0.2])


def frequencies(num_draws: int = 20_000, *, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    draws = (torch.arange(num_draws, dtype=torch.float64) + 0.5) / num_draws  # evenly spread: no chance involved
    tokens = sample(PROBABILITIES.log().expand(num_draws, -1), draws, top_k=top_k, top_p=top_p)
    return tokens.bincount(minlength=len(PROBABILITIES)) / num_draws


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    torch.testing.assert_close(frequencies(), PROBABILITIES, atol=1e-4, rtol=0)


def test_top_k_draws_among_the_k_most_probable_in_their_proportions() -> None:
    expected = torch.tensor([0, 0.4, 0, 0.25, 0]) / 0.65
    torch.testing.assert_close(frequencies(top_k=2), expected, atol=1e-4, rtol=0)


def test_top_k_beyond_the_vocabulary_cuts_nothing() -> None:
    torch.testing.assert_close(frequencies(top_k=100), PROBABILITIES, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("top_p", "support"),
    [(0.3, [1]), (0.41, [1, 3]), (0.64, [1, 3]), (0.66, [1, 3, 4]), (0.86, [1, 2, 3, 4]), (1.0, [0, 1, 2, 3, 4])],
)
def test_top_p_draws_among_the_fewest_that_sum_to_p(top_p: float, support: list[int]) -> None:
    expected = torch.zeros(5)
    expected[support] = PROBABILITIES[support] / PROBABILITIES[support].sum()
    torch.testing.assert_close(frequencies(top_p=top_p), expected, atol=1e-4, rtol=0)


def test_with_both_a_token_must_be_allowed_by_both() -> None:
    expected = torch.tensor([0, 0.4, 0, 0.25, 0]) / 0.65
    torch.testing.assert_close(frequencies(top_k=2, top_p=0.86), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(frequencies(top_k=4, top_p=0.5), expected, atol=1e-4, rtol=0)


def test_what_has_no_probability_is_never_drawn() -> None:
    log_probs = torch.tensor([-math.inf, 0.0, -math.inf])
    draws = torch.tensor([0.0, 0.5, 1 - 2**-32], dtype=torch.float64)
    assert sample(log_probs.expand(3, -1), draws).tolist() == [1, 1, 1]


def test_the_hash_is_splitmix64() -> None:
    # the first outputs of the generator's reference implementation, seeded with 1234567
    states = torch.tensor([1234567, 1234567 + _signed(0x9E3779B97F4A7C15)])
    assert [value % 2**64 for value in _mix(states).tolist()] == [6457827717110365317, 3203168211198807973]


def test_draws_are_uniform() -> None:
    draws = torch.cat([uniform_draws(3, torch.arange(500), num_samples=4, step=step) for step in range(20)])
    counts = torch.histc(draws.float(), bins=10, min=0, max=1)
    expected = draws.numel() / 10
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 27.9  # exceeded once in 1,000 times with 9 degrees of freedom
    assert abs(float(draws.mean()) - 0.5) < 0.01


def test_draws_differ_by_seed_sentence_sample_and_step() -> None:
    draws = [uniform_draws(seed, torch.arange(3), num_samples=3, step=step) for seed in (1, 2) for step in (0, 1)]
    values = torch.stack(draws).flatten().tolist()
    assert len(set(values)) == len(values)


def generate(batch: Batch, model: LatticeModel | RandomModel, **options: int | float) -> list[list[Hypothesis]]:
    settings = {"beam_size": 3, "nbest": 3, "max_len_b": 8, "sampling": True, **options}
    generator = SequenceGenerator([model], TASK.target_vocabulary, GenerationConfig(**settings))  # type: ignore[arg-type]
    return generator.generate(batch)


def tokens_of(found: list[list[Hypothesis]]) -> list[list[list[int]]]:
    return [[hypothesis.tokens.tolist() for hypothesis in hypotheses] for hypotheses in found]


BATCH = collate([([4, 5, EOS], [EOS]), ([6, EOS], [EOS]), ([7, 5, 4, 4, EOS], [EOS])])


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    model = RandomModel(TASK, seed=1)
    first = tokens_of(generate(BATCH, model, seed=7))
    torch.rand(3)  # the global random state has no part in it
    assert tokens_of(generate(BATCH, model, seed=7)) == first
    assert tokens_of(generate(BATCH, model, seed=8)) != first


def test_sampling_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    generate(BATCH, RandomModel(TASK, seed=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sample_does_not_depend_on_its_batch_mates() -> None:
    model = RandomModel(TASK, seed=4)
    together = tokens_of(generate(BATCH, model))
    for number, (source, length) in enumerate(zip([[4, 5, EOS], [6, EOS], [7, 5, 4, 4, EOS]], [3, 2, 5], strict=True)):
        single = Batch(
            ids=torch.tensor([number]),
            previous_tokens=torch.tensor([[EOS]]),
            targets=torch.tensor([[EOS]]),
            target_positions=torch.tensor([0]),
            num_tokens=1,
            source_tokens=torch.tensor([source]),
            source_lengths=torch.tensor([length]),
        )
        assert tokens_of(generate(single, model)) == together[number : number + 1]


def test_the_samples_of_a_sentence_differ() -> None:
    found = tokens_of(generate(BATCH, RandomModel(TASK, seed=4)))
    assert all(len({tuple(tokens) for tokens in samples}) > 1 for samples in found)


def test_a_sample_is_scored_by_the_model_not_by_the_head_of_its_distribution() -> None:
    model = LatticeModel({"</s>": {"a": 0.6, "b": 0.4}, "a": {"</s>": 1.0}}, TASK)
    found = generate(BATCH, model, top_k=1, normalize_scores=False)
    for hypothesis in found[0]:
        assert TASK.decode(hypothesis.tokens.numpy()) == "a"
        assert hypothesis.score == pytest.approx(math.log(0.6), abs=1e-6)


def test_texts_are_sampled_as_often_as_they_are_probable() -> None:
    task = LetterTask(num_letters=26)
    model = LatticeModel({"</s>": {"a": 0.7, "b": 0.3}, "a": {"</s>": 0.5, "a": 0.5}, "b": {"</s>": 1.0}}, task)
    batch = collate([([4, EOS], [EOS])] * 400)
    config = GenerationConfig(beam_size=25, nbest=25, sampling=True, max_len_b=2)
    found = SequenceGenerator([model], task.target_vocabulary, config).generate(batch)
    texts = [task.decode(hypothesis.tokens.numpy()) for hypotheses in found for hypothesis in hypotheses]
    expected = {"a": 0.35, "aa": 0.35, "b": 0.3}
    assert set(texts) == set(expected)
    for text, probability in expected.items():
        assert texts.count(text) / 10_000 == pytest.approx(probability, abs=0.02)  # 4 standard deviations
