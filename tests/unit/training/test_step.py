"""Gradients are sums divided once, and their norm is clipped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seqtrain.training.step import average_and_clip_gradients


def module_with_gradients(*gradients: list[float]) -> nn.Module:
    module = nn.ParameterList([nn.Parameter(torch.zeros(len(gradient))) for gradient in gradients])
    for parameter, gradient in zip(module, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    return module


def gradients(module: nn.Module) -> list[list[float]]:
    return [parameter.grad.tolist() for parameter in module.parameters() if parameter.grad is not None]


def test_the_norm_is_of_the_average_over_all_parameters() -> None:
    module = module_with_gradients([6.0], [0.0, 8.0])
    assert average_and_clip_gradients(module, 2, clip_norm=0.0).item() == pytest.approx(5.0)
    assert gradients(module) == [[3.0], [0.0, 4.0]]


def test_a_gradient_above_the_norm_is_scaled_down_to_it() -> None:
    module = module_with_gradients([6.0], [0.0, 8.0])
    assert average_and_clip_gradients(module, 2, clip_norm=1.0).item() == pytest.approx(5.0)
    assert gradients(module)[0][0] == pytest.approx(0.6)
    assert gradients(module)[1][1] == pytest.approx(0.8)


def test_a_gradient_below_the_norm_is_left() -> None:
    module = module_with_gradients([0.3, 0.4])
    average_and_clip_gradients(module, 1, clip_norm=1.0)
    assert gradients(module)[0] == pytest.approx([0.3, 0.4])


def test_a_parameter_without_a_gradient_is_passed_over() -> None:
    module = module_with_gradients([3.0], [4.0])
    next(iter(module.parameters())).grad = None
    assert average_and_clip_gradients(module, 1, clip_norm=0.0).item() == pytest.approx(4.0)


def test_a_module_without_gradients_has_norm_zero() -> None:
    assert average_and_clip_gradients(nn.Linear(2, 2), 1, clip_norm=1.0).item() == 0.0
