"""A step whose gradient is not finite is left out, by the host or by the kernel, to the same state."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from seqtrain.optimizers.adam import AdamConfig
from seqtrain.optimizers.adamw import AdamWConfig
from seqtrain.optimizers.nag import NAGConfig
from seqtrain.optimizers.sgd import SGDConfig
from seqtrain.optimizers.torch_adam import Adam, AdamW
from seqtrain.optimizers.torch_sgd import NAG, SGD
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.skipping import HostCopy, forget_update, make_step, step_on_device
from seqtrain.training.step import average_and_clip_gradients

FLOAT32 = MixedPrecision(torch.float32, torch.device("cpu"))
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


def groups(module: nn.Module) -> list[dict[str, object]]:
    return [{"params": list(module.parameters()), "weight_decay": 0.1}]


FUSED: dict[str, MakeOptimizer] = {
    "adam": lambda module: Adam(AdamConfig(lr=0.1), groups(module)),
    "adamw": lambda module: AdamW(AdamWConfig(lr=0.1), groups(module)),
    "sgd": lambda module: SGD(SGDConfig(lr=0.1, momentum=0.9), groups(module)),
}
ALL: dict[str, MakeOptimizer] = {**FUSED, "nag": lambda module: NAG(NAGConfig(lr=0.1), groups(module))}


def set_gradient(module: nn.Module, value: float) -> Tensor:
    """Give every parameter this gradient; their norm."""
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, value)
    return average_and_clip_gradients(module, 1, clip_norm=1.0)


def snapshot(module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, object]]:
    return copy.deepcopy(module.state_dict()), copy.deepcopy(optimizer.state_dict())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ALL)
def test_a_bad_gradient_leaves_parameters_and_optimizer_state_as_they_were(name: str, bad: float) -> None:
    module = nn.Linear(3, 2)
    optimizer = ALL[name](module)
    make_step(FLOAT32, optimizer, set_gradient(module, 0.5))
    before = snapshot(module, optimizer)
    outcome = make_step(FLOAT32, optimizer, set_gradient(module, bad))
    assert (outcome.counts, outcome.skipped, outcome.is_bad) == (True, True, True)
    torch.testing.assert_close(snapshot(module, optimizer), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", FUSED)
def test_a_kernel_that_leaves_steps_out_comes_to_the_bits_of_a_host_that_does(name: str) -> None:
    gradients = [0.5, math.nan, -0.2, 0.1, math.inf, math.inf, 0.3]
    torch.manual_seed(1)
    modules = [nn.Linear(3, 2), nn.Linear(3, 2)]
    modules[1].load_state_dict(modules[0].state_dict())
    by_host, by_kernel = (FUSED[name](module) for module in modules)
    for gradient in gradients:
        outcome = make_step(FLOAT32, by_host, set_gradient(modules[0], gradient))
        skipped = step_on_device(by_kernel, set_gradient(modules[1], gradient))
        assert HostCopy(skipped).read() == outcome.skipped == (not math.isfinite(gradient))
        if outcome.skipped:
            forget_update(by_kernel)
        torch.testing.assert_close(snapshot(modules[1], by_kernel), snapshot(modules[0], by_host), rtol=0, atol=0)
    assert not hasattr(by_kernel, "found_inf")


def test_a_bad_gradient_is_averaged_but_never_multiplied_by_a_factor_that_is_not_finite() -> None:
    module = nn.ParameterList([nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))])
    for bad in (math.nan, math.inf):
        module[0].grad, module[1].grad = torch.tensor([4.0, -2.0]), torch.tensor([bad])
        norm = average_and_clip_gradients(module, 2, clip_norm=0.1)
        assert not math.isfinite(norm.item())
        assert module[0].grad.tolist() == [2.0, -1.0]


def test_float16_does_not_count_an_overflow_until_its_scale_is_exhausted() -> None:
    module = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    precision = MixedPrecision(torch.float16, torch.device("cpu"))
    outcomes = []
    for _ in range(40):
        precision.scale(module(torch.full((1, 1), torch.inf)).sum()).backward()
        precision.unscale(optimizer)
        outcomes.append(make_step(precision, optimizer, torch.tensor(torch.inf)))
    assert not any(outcome.counts for outcome in outcomes)
    assert all(outcome.skipped for outcome in outcomes)
    assert [outcome.is_bad for outcome in outcomes] == [2.0 ** (16 - number) <= 2.0**-13 for number in range(40)]


def update_sums(loss: float) -> MetricSums:
    sums = MetricSums()
    sums.add("loss", torch.tensor(loss))
    sums.add_number("num_tokens", 7)
    return sums


def test_sums_leave_a_bad_update_out_whether_host_or_device_knows() -> None:
    of_host, of_device = MetricSums(), MetricSums()
    for loss in (3.0, math.nan, 4.0, math.inf):
        is_bad = not math.isfinite(loss)
        of_host.add_update(update_sums(loss), left_out=is_bad)
        of_device.add_update(update_sums(loss), left_out=torch.tensor(is_bad))
    assert of_host.read() == of_device.read() == {"loss": 7.0, "num_tokens": 14}
