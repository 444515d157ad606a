"""Gradients are sums divided once, and their norm is clipped."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqtrain.nn.native.build import find_compiler
from seqtrain.nn.training_kernels import TrainingKernels, kernels_in_use
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.step import TrainableModule, average_and_clip_gradients
from tests.unit.training.traced import make_batch, make_module, packed_batches


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


# ---- Compiled kernels ------------------------------------------------------------------------------------------------

TASK = TinyTask(num_letters=20)
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")


def loss_and_gradients(module: TrainableModule, *, is_packed: bool) -> list[Tensor]:
    """Of a batch, with dropout from one seed."""
    batch = next(packed_batches(TASK, 64)) if is_packed else make_batch(TASK, 9, (2, 8))
    torch.manual_seed(4)
    loss = module(batch).loss_sum
    return [loss.detach(), *torch.autograd.grad(loss, list(module.parameters()))]


@needs_compiler
@pytest.mark.parametrize("is_packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("is_bf16", [False, True], ids=["float32", "bf16"])
def test_with_kernels_a_model_has_the_loss_and_the_gradients_that_it_has_without(
    *, is_packed: bool, is_bf16: bool
) -> None:
    module = make_module(TASK, dropout=0.2, num_layers=2, num_heads=1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16):
        expected = loss_and_gradients(module, is_packed=is_packed)
        module.use_kernels(TrainingKernels())
        found = loss_and_gradients(module, is_packed=is_packed)
    assert_close(found[0], expected[0], rtol=1e-3 if is_bf16 else 1e-6, atol=0.0)
    gradient, exact = (torch.cat([part.flatten() for part in parts[1:]]) for parts in (found, expected))
    difference = float((gradient - exact).norm() / exact.norm())
    assert 0.0 < difference < (0.02 if is_bf16 else 1e-5)  # other sums, rounded in other places


@needs_compiler
def test_kernels_are_for_training_alone() -> None:
    module = make_module(TASK)
    seen: list[bool] = []
    layer = next(part for part in module.modules() if isinstance(part, nn.Linear))
    layer.register_forward_hook(lambda *_: seen.append(kernels_in_use() is not None))
    batch = make_batch(TASK, 3, (2, 8))
    module.use_kernels(TrainingKernels())
    module(batch)
    with module.uncompiled():
        module(batch)
    with torch.no_grad():
        module(batch)
    module.eval()(batch)
    assert seen == [True, False, False, False]
