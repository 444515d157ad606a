from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropy, LabelSmoothedCrossEntropyConfig
from seqtrain.testing import TinyFeatureModel, TinyModel, TinyTask, collate

PAIRS = [([4, 5, 2], [5, 2]), ([6, 2], [4, 4, 2]), ([2], [2])]


def build(label_smoothing: float, *, sentence_avg: bool = False) -> LabelSmoothedCrossEntropy:
    config = LabelSmoothedCrossEntropyConfig(label_smoothing=label_smoothing, sentence_avg=sentence_avg)
    return LabelSmoothedCrossEntropy(config, TinyTask())


def model_of(kind: type[TinyModel]) -> TinyModel:
    torch.manual_seed(1)
    return kind(TinyTask())


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def test_the_loss_is_the_cross_entropy_to_the_smoothed_distribution() -> None:
    """The target has 1 - ε of the mass, and each other type ε / (V - 1)."""
    smoothing = 0.2
    model, batch = model_of(TinyModel), collate(PAIRS)
    output = build(smoothing)(model, batch)
    log_probabilities = model.forward_batch(batch).log_softmax(dim=-1).flatten(0, 1)[batch.target_positions]
    num_types = log_probabilities.shape[1]
    truth = torch.full_like(log_probabilities, smoothing / (num_types - 1))
    targets = batch.targets.flatten()[batch.target_positions]
    truth.scatter_(1, targets[:, None], 1 - smoothing)
    assert_close(output.loss_sum, -(truth * log_probabilities).sum())


def test_a_model_that_gives_features_has_the_same_loss_and_gradients() -> None:
    plain, fused, batch = model_of(TinyModel), model_of(TinyFeatureModel), collate(PAIRS)
    first, second = build(0.1)(plain, batch), build(0.1)(fused, batch)
    assert_close(first.loss_sum, second.loss_sum)
    assert_close(first.logs, second.logs)
    assert_close(gradients(plain, first.loss_sum), gradients(fused, second.loss_sum))


@pytest.mark.parametrize("kind", [TinyModel, TinyFeatureModel])
def test_without_smoothing_it_is_the_cross_entropy(kind: type[TinyModel]) -> None:
    model, batch = model_of(kind), collate(PAIRS)
    output = build(0.0)(model, batch)
    expected = CrossEntropy(CrossEntropyConfig(), TinyTask())(model, batch)
    assert_close(output.loss_sum, expected.loss_sum)
    assert_close(output.logs["nll_loss"], output.loss_sum.detach())


@pytest.mark.parametrize("kind", [TinyModel, TinyFeatureModel])
def test_the_log_is_the_likelihood_without_smoothing(kind: type[TinyModel]) -> None:
    model, batch = model_of(kind), collate(PAIRS)
    expected = build(0.0)(model, batch).loss_sum.detach()
    assert_close(build(0.3)(model, batch).logs["nll_loss"], expected)


@pytest.mark.parametrize(("sentence_avg", "sample_size"), [(False, 6), (True, 3)])
def test_the_sample_is_a_token_or_a_sentence(sentence_avg: bool, sample_size: int) -> None:
    assert build(0.1, sentence_avg=sentence_avg)(model_of(TinyModel), collate(PAIRS)).sample_size == sample_size


@pytest.mark.parametrize(("label_smoothing", "is_wrong"), [(0.0, False), (0.1, False), (1.0, True), (-0.1, True)])
def test_a_mass_is_a_probability(label_smoothing: float, is_wrong: bool) -> None:
    problems = list(LabelSmoothedCrossEntropyConfig(label_smoothing=label_smoothing).problems())
    assert [problem.key for problem in problems] == (["label_smoothing"] if is_wrong else [])
