"""Eight updates of fairseq, repeated: logits, losses, gradient norms, learning rates, final parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor

from seqtrain.data.vocabulary import Vocabulary
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.metrics import MetricSums, loss_measures
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.reduction import LocalSum
from seqtrain.training.step import Learner, TrainableModule, UpdateOptions, run_update
from tests.golden.fairseq_weights import fairseq_views, renamed
from tests.golden.training_cases import TrainingCase
from tests.shared import shared

shared("golden/fairseq/training")
CASES = ("translation_postnorm_shared", "lm_transformer")


@dataclass
class Run:
    """What our run logged, one entry an update; losses in base 2 per token."""

    losses: list[float]
    nll_losses: list[float]
    grad_norms: list[float]
    rates_after: list[float]
    parameters: dict[str, Tensor]


@cache
def run(name: str) -> Run:
    """Train our model on fairseq's batches, from fairseq's weights."""
    case = TrainingCase(name)
    model, criterion = case.model(), case.criterion()
    optimizer = case.optimizer(model)
    schedule = case.schedule(optimizer)
    module = TrainableModule(model, criterion)
    learner = Learner(
        task=TinyTask(),
        module=module,
        optimizer=optimizer,
        precision=MixedPrecision(torch.float32, torch.device("cpu")),
        reduction=LocalSum(module),
        processes=SingleProcess(),
        device=torch.device("cpu"),
    )
    options = UpdateOptions(clip_norm=case.settings["clip_norm"], seed=1)
    log = Run([], [], [], [], {})
    rate = schedule.step_update(0)
    for update in range(len(case.expected["updates"])):
        for group in optimizer.param_groups:
            group["lr"] = rate
        sums = MetricSums()
        run_update(learner, [case.batch(update)], sums, options=options, first_batch=(1, update))
        rate = schedule.step_update(update + 1)
        measures = loss_measures(sums.read())
        log.losses.append(measures["loss"])
        log.nll_losses.append(measures["nll_loss"])
        log.grad_norms.append(sums.read()["grad_norm"])
        log.rates_after.append(rate)
    log.parameters = fairseq_views(model.state_dict())
    return log


def expected(name: str, key: str) -> list[float]:
    return [update[key] for update in TrainingCase(name).expected["updates"]]


@pytest.mark.parametrize("name", CASES)
def test_logits_before_any_update(name: str) -> None:
    case = TrainingCase(name)
    batch = case.batch(0)
    with torch.no_grad():
        logits = case.model().eval().forward_batch(batch)
    is_real = batch.targets != Vocabulary.pad
    torch.testing.assert_close(
        logits[is_real], torch.from_numpy(case.arrays("forward")["output"])[is_real], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", CASES)
def test_losses(name: str) -> None:
    assert run(name).losses == pytest.approx(expected(name, "loss"), rel=1e-4)


def test_unsmoothed_losses() -> None:
    name = "translation_postnorm_shared"
    assert run(name).nll_losses == pytest.approx(expected(name, "nll_loss"), rel=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_gradient_norms_before_clipping(name: str) -> None:
    assert run(name).grad_norms == pytest.approx(expected(name, "grad_norm"), rel=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_learning_rates(name: str) -> None:
    assert run(name).rates_after == pytest.approx(expected(name, "lr_after_update"), rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_final_parameters(name: str) -> None:
    parameters = run(name).parameters
    compared = 0
    for fairseq_name, (norm, total) in TrainingCase(name).expected["final_parameters"]["values"].items():
        if fairseq_name.endswith("k_proj.bias"):  # its true gradient is zero: Adam amplifies rounding there
            continue
        ours = parameters[_name_of_views(fairseq_name, parameters)].double()
        assert ours.norm().item() == pytest.approx(norm, rel=1e-4), fairseq_name
        assert ours.sum().item() == pytest.approx(total, abs=5e-3), fairseq_name
        compared += 1
    num_key_biases = sum(name.endswith("k_proj.bias") for name in parameters)
    assert compared == len(parameters) - num_key_biases


def _name_of_views(fairseq_name: str, parameters: dict[str, Tensor]) -> str:
    """Our name of a parameter; fairseq calls the one shared table the encoder's."""
    name = renamed(fairseq_name)
    return name if name in parameters else "target_embedding.weight"
