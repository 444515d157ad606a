"""Learning rates against fairseq's, update by update."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from seqtrain.lr_schedulers.cosine import CosineConfig, cosine_lr
from seqtrain.lr_schedulers.fixed import Fixed, FixedConfig, fixed_lr
from seqtrain.lr_schedulers.inverse_sqrt import inverse_sqrt_lr
from seqtrain.lr_schedulers.polynomial_decay import PolynomialDecayConfig, polynomial_decay_lr
from tests.shared import shared

EXPECTED: dict[str, Any] = json.loads((shared("golden/fairseq") / "lr_schedules.json").read_text())
TOLERANCE = 1e-9


def settings(name: str) -> tuple[float, dict[str, Any]]:
    """The peak rate of a schedule, and its other settings under fairseq's names."""
    values = dict(EXPECTED[name]["settings"])
    return values.pop("lr")[0], values


def test_inverse_sqrt() -> None:
    peak, values = settings("inverse_sqrt")
    rates = [inverse_sqrt_lr(update, peak_lr=peak, **values) for update in range(61)]
    assert rates == pytest.approx(EXPECTED["inverse_sqrt"]["lr_at_update"], rel=TOLERANCE)


def test_polynomial_decay() -> None:
    peak, values = settings("polynomial_decay")
    rates = [polynomial_decay_lr(update, PolynomialDecayConfig(**values), peak) for update in range(61)]
    assert rates == pytest.approx(EXPECTED["polynomial_decay"]["lr_at_update"], rel=TOLERANCE)


def test_cosine() -> None:
    peak, values = settings("cosine")
    rates = [cosine_lr(update, CosineConfig(**values), peak) for update in range(61)]
    assert rates == pytest.approx(EXPECTED["cosine"]["lr_at_update"], rel=TOLERANCE)


def test_fixed() -> None:
    values = dict(EXPECTED["fixed"]["settings"])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = Fixed(FixedConfig(**values), optimizer)
    num_updates = 0
    schedule.step_update(num_updates)
    for epoch in EXPECTED["fixed"]["epochs"]:
        within = []
        for _ in epoch["lr_within"]:
            num_updates += 1
            within.append(schedule.step_update(num_updates))
        assert within == pytest.approx(epoch["lr_within"], rel=TOLERANCE)
        assert fixed_lr(epoch["epoch"], schedule.config, 1.0) == pytest.approx(epoch["lr_after"], rel=TOLERANCE)
        schedule.step(epoch["epoch"], epoch["valid_loss"])  # gives the next epoch's rate, which fairseq sets later
