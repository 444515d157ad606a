"""The linear layer against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from seqtrain.nn.linear import Linear


def pair() -> tuple[Linear, nn.Linear]:
    torch.manual_seed(1)
    ours = Linear(6, 4)
    reference = nn.Linear(6, 4)
    reference.load_state_dict(ours.state_dict())
    return ours, reference


def test_it_is_initialised_as_torch_does() -> None:
    torch.manual_seed(1)
    expected = nn.Linear(6, 4).weight
    torch.manual_seed(1)
    assert torch.equal(Linear(6, 4).weight, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_output_and_gradients(dtype: torch.dtype) -> None:
    ours, reference = pair()
    x = torch.randn(9, 6, dtype=dtype)
    results = []
    for layer in (ours.to(dtype), reference.to(dtype)):
        inputs = x.clone().requires_grad_()
        output = layer(inputs)
        output.square().sum().backward()
        results.append([output, inputs.grad, *(parameter.grad for parameter in layer.parameters())])
    assert_close(*results)


def test_output_without_gradients() -> None:
    ours, reference = pair()
    x = torch.randn(9, 6)
    with torch.no_grad():
        assert_close(ours(x), reference(x))


def test_a_frozen_layer_passes_the_gradient_on() -> None:
    ours, reference = pair()
    ours.requires_grad_(requires_grad=False)
    x = torch.randn(9, 6, requires_grad=True)
    ours(x).sum().backward()
    assert x.grad is not None
    assert_close(x.grad, reference.weight.sum(dim=0).expand(9, 6))
    assert ours.weight.grad is None


def test_autocast_rounds_the_product() -> None:
    ours, _ = pair()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(torch.randn(9, 6)).dtype is torch.bfloat16
