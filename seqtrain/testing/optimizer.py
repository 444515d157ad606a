"""What every optimizer promises."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqtrain.testing.plugin import PluginContract

NUM_STEPS = 20


class OptimizerContract(PluginContract):
    """The suite of an optimizer: it goes downhill, at the rate that it is told, and its state can be saved."""

    kind: ClassVar[str] = "optimizer"

    def parameters(self) -> list[nn.Parameter]:
        """A matrix and a vector, the same each time."""
        generator = torch.Generator().manual_seed(1)
        return [nn.Parameter(torch.randn(4, 3, generator=generator)), nn.Parameter(torch.randn(3, generator=generator))]

    def optimizer(self, parameters: list[nn.Parameter], *, weight_decay: float = 0.0) -> Any:
        """A new optimizer: the first parameter has this weight decay, the others none."""
        groups: list[dict[str, Any]] = [
            {"params": parameters[:1], "weight_decay": weight_decay},
            {"params": parameters[1:], "weight_decay": 0.0},
        ]
        optimizer = self.build(groups)
        assert isinstance(optimizer, Optimizer), f"{self.name} is no torch.optim.Optimizer"
        return optimizer

    def test_it_reduces_a_quadratic(self) -> None:
        """Some steps on the sum of (x - 3) ** 2 make it smaller."""
        parameters = self.parameters()
        optimizer = self.optimizer(parameters)
        losses = [_step(optimizer, parameters) for _ in range(NUM_STEPS)]
        assert losses[-1] < losses[0]

    def test_a_rate_of_zero_moves_nothing(self) -> None:
        """The learning rate is the one of the parameter group at the time of the step, weight decay included."""
        parameters = self.parameters()
        optimizer = self.optimizer(parameters, weight_decay=0.1)
        _step(optimizer, parameters)
        before = [parameter.detach().clone() for parameter in parameters]
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        _step(optimizer, parameters)
        for parameter, old in zip(parameters, before, strict=True):
            assert torch.equal(parameter, old)

    def test_only_groups_with_weight_decay_decay(self) -> None:
        """Where the gradient is zero, a group with decay shrinks and one without stays as it is."""
        parameters = self.parameters()
        optimizer = self.optimizer(parameters, weight_decay=0.1)
        before = [parameter.detach().clone() for parameter in parameters]
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        assert parameters[0].norm() < before[0].norm()
        assert torch.equal(parameters[1], before[1])

    def test_a_parameter_without_a_gradient_stays(self) -> None:
        """A part of the model that a batch did not use is left alone."""
        parameters = self.parameters()
        optimizer = self.optimizer(parameters, weight_decay=0.1)
        before = parameters[0].detach().clone()
        parameters[1].grad = torch.ones_like(parameters[1])
        optimizer.step()
        assert torch.equal(parameters[0], before)

    def test_it_goes_on_from_its_state_to_the_same_bits(self) -> None:
        """A resumed run is the run that was never stopped."""
        whole = self.parameters()
        optimizer = self.optimizer(whole)
        for _ in range(NUM_STEPS):
            _step(optimizer, whole)

        resumed = self.parameters()
        first = self.optimizer(resumed)
        for _ in range(NUM_STEPS // 2):
            _step(first, resumed)
        second = self.optimizer(resumed)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        for _ in range(NUM_STEPS - NUM_STEPS // 2):
            _step(second, resumed)

        for one, other in zip(whole, resumed, strict=True):
            assert torch.equal(one, other)

    def test_its_state_is_tensors_and_plain_values(self) -> None:
        """A checkpoint holds tensors and JSON, no pickled objects."""
        parameters = self.parameters()
        optimizer = self.optimizer(parameters)
        _step(optimizer, parameters)
        state = optimizer.state_dict()
        assert list(_foreign_values(state["state"])) == []
        assert list(_foreign_values(state["param_groups"])) == []


def _step(optimizer: Optimizer, parameters: list[nn.Parameter]) -> float:
    """One step on the sum of (x - 3) ** 2; the loss before it."""
    optimizer.zero_grad()
    loss = torch.stack([((parameter - 3.0) ** 2).sum() for parameter in parameters]).sum()
    loss.backward()
    optimizer.step()
    return loss.item()


def _foreign_values(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [found for item in value.values() for found in _foreign_values(item)]
    if isinstance(value, list | tuple):
        return [found for item in value for found in _foreign_values(item)]
    return [] if value is None or isinstance(value, Tensor | bool | int | float | str) else [repr(value)]
