"""The compiled kernel of dropout, residual connection and norm computes what torch's operators do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqtrain.nn.compiled_functions import compiled_residual_norm
from seqtrain.nn.dropout import add_dropout
from seqtrain.nn.linear import Linear
from seqtrain.nn.native.build import find_compiler
from seqtrain.nn.products import multiplies_fast
from seqtrain.nn.training_kernels import TrainingKernels, using

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
needs_bfloat16 = pytest.mark.skipif(not multiplies_fast(torch.bfloat16), reason="no instructions for bfloat16")
FORMATS = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize("num_rows", [1, 64, 130])
@pytest.mark.parametrize("dtype", FORMATS)
def test_the_residual_norm_drops_and_normalises_as_layer_norm(
    kernels: TrainingKernels, probability: float, num_rows: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(5)
    norm = nn.LayerNorm(48)
    nn.init.normal_(norm.weight, mean=1.0)
    nn.init.normal_(norm.bias)
    x, output = torch.randn(num_rows, 48) + 3.0, torch.randn(num_rows, 48).to(dtype)
    weights = torch.randn(num_rows, 48)

    def compute(*, is_compiled: bool) -> tuple[Tensor, ...]:
        torch.manual_seed(7)
        leaves = x.clone().requires_grad_(), output.clone().requires_grad_()
        with using(kernels if is_compiled else None):
            result = compiled_residual_norm(*leaves, probability, norm)
        assert (result is not None) == is_compiled
        if result is None:
            result = norm(add_dropout(*leaves, probability, training=True))
        return result.detach(), *torch.autograd.grad((result * weights).sum(), (*leaves, norm.weight, norm.bias))

    expected, found = compute(is_compiled=False), compute(is_compiled=True)
    assert found[2].dtype is dtype
    assert torch.equal(found[2] == 0.0, expected[2] == 0.0)  # the same is dropped
    for mine, torchs in zip(found, expected, strict=True):
        assert_close(mine, torchs, rtol=2e-2 if torchs.dtype is torch.bfloat16 else 2e-5, atol=2e-4)


@pytest.mark.parametrize(
    ("x", "output"),
    [
        (torch.zeros(2, 40), torch.zeros(2, 40)),
        (torch.zeros(2, 2, 16), torch.zeros(2, 2, 16)),
        (torch.zeros(2, 16), torch.zeros(2, 16, dtype=torch.float16)),
        (torch.zeros(2, 16, dtype=torch.bfloat16), torch.zeros(2, 16)),
    ],
)
def test_other_rows_are_left_to_torch(kernels: TrainingKernels, x: Tensor, output: Tensor) -> None:
    with using(kernels):
        assert compiled_residual_norm(x, output, 0.0, nn.LayerNorm(x.shape[-1])) is None


def norm_and_readers(kernels: TrainingKernels | None, use: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    """What `use` makes of a norm's result with linear layers, and the gradients of what the norm was given."""
    torch.manual_seed(6)
    norm, leaves = nn.LayerNorm(32), (torch.randn(40, 32, requires_grad=True), torch.randn(40, 32, requires_grad=True))
    with using(kernels), torch.autocast("cpu", dtype=torch.bfloat16):
        output = leaves[1].bfloat16()
        result = compiled_residual_norm(leaves[0], output, 0.0, norm)
        assert (result is None) is (kernels is None)
        total = use(norm(leaves[0] + output) if result is None else result)
    return total.detach(), *torch.autograd.grad(total.float().square().sum(), (*leaves, norm.weight, norm.bias))


def linear_layer() -> Linear:
    torch.manual_seed(8)
    return Linear(32, 32)


def read_once(x: Tensor) -> Tensor:
    output: Tensor = x + linear_layer()(x)
    return output


def read_twice(x: Tensor) -> Tensor:
    layer = linear_layer()
    output: Tensor = layer(x) + layer(x)
    return output


def read_changed(x: Tensor) -> Tensor:
    output: Tensor = linear_layer()(x.mul_(2.0))
    return output


def read_watched(x: Tensor) -> Tensor:
    """A hook sees the gradient of all readers, and may change it."""
    x.register_hook(lambda grad: 2.0 * grad)
    return read_once(x)


def read_by_nobody(x: Tensor) -> Tensor:
    return x * 1.5


def read_rounded_alone(x: Tensor) -> Tensor:
    """Of the result itself there is no gradient."""
    output: Tensor = linear_layer()(x)
    return output


@needs_bfloat16
@pytest.mark.parametrize("use", [read_once, read_twice, read_changed, read_watched, read_by_nobody, read_rounded_alone])
def test_a_norms_result_and_its_rounded_twin_have_one_gradient(
    kernels: TrainingKernels, use: Callable[[Tensor], Tensor]
) -> None:
    assert_close(norm_and_readers(kernels, use), norm_and_readers(None, use), rtol=2e-2, atol=4e-2)
