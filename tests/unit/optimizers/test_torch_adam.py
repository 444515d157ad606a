from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqtrain.optimizers.adam import AdamConfig
from seqtrain.optimizers.adamw import AdamWConfig
from seqtrain.optimizers.torch_adam import Adam, AdamW, has_fused_kernel

GRADIENTS = [torch.tensor([1.0, -2.0, 1e-9]), torch.tensor([0.5, 0.0, 3e-8]), torch.tensor([-1.0, 4.0, 1e-8])]


def groups(parameter: Tensor, weight_decay: float) -> list[dict[str, Any]]:
    return [{"params": [parameter], "weight_decay": weight_decay}]


def adam_by_formula(value: Tensor, config: AdamConfig) -> Tensor:
    """See reference/fairseq.md 2.5, in float64: ε stands beside the root that is not corrected for its bias."""
    beta1, beta2 = config.betas
    mean, square = torch.zeros_like(value), torch.zeros_like(value)
    for number, gradient in enumerate(GRADIENTS, start=1):
        mean = beta1 * mean + (1 - beta1) * gradient.double()
        square = beta2 * square + (1 - beta2) * gradient.double() ** 2
        value = value - config.lr * config.weight_decay * value
        step_size = config.lr * (1 - beta2**number) ** 0.5 / (1 - beta1**number)
        value = value - step_size * mean / (square.sqrt() + config.eps)
    return value


@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_adam_follows_the_formula(eps: float) -> None:
    config = AdamConfig(lr=0.1, eps=eps, weight_decay=0.05)
    start = torch.tensor([1.0, -1.0, 0.5])
    parameter = nn.Parameter(start.clone())
    optimizer = Adam(config, groups(parameter, config.weight_decay))
    for gradient in GRADIENTS:
        parameter.grad = gradient
        optimizer.step()
    assert_close(parameter.detach().double(), adam_by_formula(start.double(), config), rtol=1e-5, atol=1e-6)


def test_adamw_is_that_of_torch() -> None:
    config = AdamWConfig(lr=0.1)
    ours, reference = (nn.Parameter(torch.tensor([1.0, -1.0, 0.5])) for _ in range(2))
    optimizers = [
        AdamW(config, groups(ours, config.weight_decay)),
        torch.optim.AdamW([reference], lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
    ]
    for gradient in GRADIENTS:
        ours.grad, reference.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert_close(ours, reference)


def test_epsilon_of_a_group_is_not_changed_by_steps() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = Adam(AdamConfig(eps=1e-6), groups(parameter, 0.0))
    parameter.grad = torch.ones(3)
    optimizer.step()
    assert optimizer.param_groups[0]["eps"] == 1e-6


def test_the_number_of_updates_survives_a_restart() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = Adam(AdamConfig(), groups(parameter, 0.0))
    parameter.grad = torch.ones(3)
    optimizer.step()
    restarted = Adam(AdamConfig(), groups(parameter, 0.0))
    restarted.load_state_dict(optimizer.state_dict())
    assert restarted.param_groups[0]["num_updates"] == 1


def test_the_fused_kernel_is_used_where_there_is_one() -> None:
    parameter = nn.Parameter(torch.ones(3))
    assert Adam(AdamConfig(), groups(parameter, 0.0)).defaults["fused"] is True
    assert not has_fused_kernel([{"params": [torch.ones(3, device="meta")]}])


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({}, []),
        ({"betas": [0.9]}, ["betas"]),
        ({"betas": [0.9, 1.0]}, ["betas"]),
        ({"lr": 0.0, "eps": -1.0}, ["lr", "eps"]),
    ],
)
@pytest.mark.parametrize("schema", [AdamConfig, AdamWConfig])
def test_wrong_settings_are_named(schema: Any, settings: dict[str, Any], keys: list[str]) -> None:
    assert [problem.key for problem in schema(**settings).problems()] == keys
