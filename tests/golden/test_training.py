"""Eight updates of fairseq, repeated: logits, losses, gradient norms, learning rates, final parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor

from seqtrain.data.vocabulary import Vocabulary
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
    log = Run([], [], [], [], {})
    rate = schedule.step_update(0)
    for update in range(len(case.expected["updates"])):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        output = criterion(model, case.batch(update))
        (output.loss_sum / output.sample_size).backward()  # type: ignore[no-untyped-call] # torch's own
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), case.settings["clip_norm"])
        optimizer.step()
        rate = schedule.step_update(update + 1)
        log.losses.append(output.loss_sum.item() / output.sample_size / math.log(2))
        log.nll_losses.append(output.logs["nll_loss"].item() / output.sample_size / math.log(2))
        log.grad_norms.append(norm.item())
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
