from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from seqtrain.optimizers.nag import NAGConfig
from seqtrain.optimizers.sgd import SGDConfig
from seqtrain.optimizers.torch_sgd import NAG, SGD


def test_weight_decay_of_sgd_is_added_to_the_gradient() -> None:
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimizer = SGD(SGDConfig(lr=0.1, momentum=0.5), [{"params": [parameter], "weight_decay": 0.5}])
    parameter.grad = torch.tensor([1.0])
    optimizer.step()  # the step is 1 + 0.5 * 2 = 2
    assert_close(parameter.detach(), torch.tensor([1.8]))
    optimizer.step()  # the step is 0.5 * 2 + 1 + 0.5 * 1.8 = 2.9
    assert_close(parameter.detach(), torch.tensor([1.51]))


def test_nag_follows_the_formula_while_the_rate_changes() -> None:
    """See `NAG`: its equations, one update at a time."""
    momentum, decay, rates, gradients = 0.9, 0.1, [0.1, 0.05, 0.2], [1.0, -2.0, 3.0]
    value, velocity, last_rate = 2.0, 0.0, 0.1
    parameter = nn.Parameter(torch.tensor([value], dtype=torch.float64))
    optimizer = NAG(NAGConfig(lr=0.1, momentum=momentum), [{"params": [parameter], "weight_decay": decay}])
    for rate, gradient in zip(rates, gradients, strict=True):
        correction = rate / last_rate
        value = value * (1 - rate * decay) + momentum**2 * correction * velocity - (1 + momentum) * rate * gradient
        velocity = momentum * correction * velocity - rate * gradient
        last_rate = rate
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        assert parameter.item() == pytest.approx(value)


def test_nag_starts_from_a_rate_of_zero() -> None:
    """The first update of a warm-up; the correction has nothing to divide by at the second."""
    parameter = nn.Parameter(torch.tensor([1.0]))
    optimizer = NAG(NAGConfig(), [{"params": [parameter], "weight_decay": 0.0}])
    parameter.grad = torch.tensor([1.0])
    for rate in (0.0, 0.1):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    assert parameter.item() == pytest.approx(1.0 - 1.99 * 0.1)


@pytest.mark.parametrize("schema", [NAGConfig, SGDConfig])
def test_a_momentum_is_below_one(schema: Any) -> None:
    assert [problem.key for problem in schema(momentum=1.0).problems()] == ["momentum"]
    assert list(schema().problems()) == []
