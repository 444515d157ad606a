"""The compiled products in bfloat16 are those of the rounded factors, summed up in float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqtrain.nn.compiled_functions import compiled_linear
from seqtrain.nn.linear_cross_entropy import linear_cross_entropy
from seqtrain.nn.native.build import find_compiler
from seqtrain.nn.product_kernels import ProductKernels
from seqtrain.nn.products import make_products, own_products
from seqtrain.nn.training_kernels import TrainingKernels, using

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
FORMATS = [torch.float32, torch.bfloat16]
NUM_ROWS = [1, 2, 9, 64, 150, 2049]  # parts of a tile, of a task, of the summands at a time
SHAPES = [
    (2, 32),
    (16, 32),
    (48, 96),
    (50, 96),
    (264, 320),
    (328, 320),
]  # output and input features: parts of a vector, a panel, a strip


@pytest.fixture
def products(kernels: TrainingKernels, monkeypatch: pytest.MonkeyPatch) -> ProductKernels:
    """The products, which are taken for the fastest wherever the tests run."""
    monkeypatch.setattr(ProductKernels, "are_fastest", property(lambda _: True))
    return kernels.products


def rounded(tensor: Tensor) -> Tensor:
    return tensor.to(torch.bfloat16).double()


def assert_near(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """The exact product in the format told; sums of a few hundred numbers of about 1 in float32."""
    relative = 2**-8 if dtype is torch.bfloat16 else 1e-5
    assert found.dtype is dtype
    assert_close(found.double(), expected, rtol=relative, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_rows", NUM_ROWS)
@pytest.mark.parametrize("dtype", FORMATS)
def test_the_three_products(
    products: ProductKernels, num_rows: int, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    torch.manual_seed(3)
    weight = torch.randn(shape).to(dtype)
    x, grad = torch.randn(num_rows, shape[1]).to(dtype), torch.randn(num_rows, shape[0]).bfloat16()
    output, rows = products.forward(x, products.pack_transpose(weight), shape[0])
    assert_near(output, rounded(x) @ rounded(weight).t(), torch.bfloat16)
    assert torch.equal(rows, x.bfloat16())
    x_grad = products.input_grad(grad, products.pack(weight), shape[1], dtype)
    assert_near(x_grad, grad.double() @ rounded(weight), dtype)
    assert_near(products.weight_grad(grad, rows), grad.double().t() @ rounded(x), torch.float32)


@pytest.mark.parametrize("with_output", [False, True])
@pytest.mark.parametrize("num_rows", [0, *NUM_ROWS])
def test_the_gradients_of_a_layer_take_one_pass(kernels: TrainingKernels, num_rows: int, with_output: bool) -> None:
    weight, grad = torch.randn(48, 32), torch.randn(num_rows, 48).bfloat16()
    output = torch.randn(num_rows, 48).relu().bfloat16() if with_output else None
    products, panels = kernels.products, kernels.products.pack(weight)
    x_grad, passed, sums = products.linear_grads(grad, output, panels, 32, torch.float32)
    expected = kernels.linear_gradient(grad, output)
    assert torch.equal(passed, expected[0])
    assert torch.equal(sums, expected[1])
    assert torch.equal(x_grad, products.input_grad(passed, panels, 32, torch.float32))


@pytest.mark.parametrize("num_outputs", [24, 32, 96])
def test_gradients_of_weights_are_added_up_without_rounding(products: ProductKernels, num_outputs: int) -> None:
    grad, x = torch.randn(70, num_outputs).bfloat16(), torch.randn(70, 64).bfloat16()
    first = products.weight_grad(grad[:40].contiguous(), x[:40].contiguous())
    total = products.weight_grad(grad[40:].contiguous(), x[40:].contiguous(), add_to=first)
    assert total is first
    assert_near(total, grad.double().t() @ x.double(), torch.float32)


def test_products_of_no_rows(products: ProductKernels) -> None:
    weight, x, grad = torch.randn(16, 32), torch.zeros(0, 32), torch.zeros(0, 16, dtype=torch.bfloat16)
    assert products.forward(x, products.pack_transpose(weight), 16)[0].shape == (0, 16)
    assert products.input_grad(grad, products.pack(weight), 32, torch.float32).shape == (0, 32)
    assert torch.equal(products.weight_grad(grad, x.bfloat16()), torch.zeros(16, 32))


@pytest.mark.parametrize("relu", [False, True])
def test_a_bias_is_added_before_the_sum_is_rounded(products: ProductKernels, relu: bool) -> None:
    x, weight, bias = torch.randn(20, 32), torch.randn(48, 32), torch.randn(48)
    output, _ = products.forward(x, products.pack_transpose(weight), 48, bias, relu=relu)
    expected = rounded(x) @ rounded(weight).t() + bias.double()
    assert_near(output, expected.relu() if relu else expected, torch.bfloat16)


@pytest.mark.parametrize("place", [0, 63, 69])
def test_what_is_no_number_stays_in_its_row(products: ProductKernels, place: int) -> None:
    x, weight = torch.randn(70, 32), torch.randn(16, 32)
    x[place, 5] = torch.nan
    output, rows = products.forward(x, products.pack_transpose(weight), 16, torch.zeros(16), relu=True)
    assert output.isnan().all(dim=1).nonzero().tolist() == [[place]]
    assert products.weight_grad(output, rows).isnan().all()


def test_which_weights_they_know() -> None:
    assert ProductKernels.has_shape(torch.zeros(6, 32))
    assert not ProductKernels.has_shape(torch.zeros(7, 32))
    assert not ProductKernels.has_shape(torch.zeros(16, 48))
    assert not ProductKernels.has_shape(torch.zeros(16, 32, dtype=torch.float64))
    assert ProductKernels.has_bias(torch.zeros(32))
    assert not ProductKernels.has_bias(torch.zeros(24))
    assert not ProductKernels.has_bias(torch.zeros(32, dtype=torch.bfloat16))


def test_they_are_used_in_bfloat16_where_they_are_the_fastest(
    kernels: TrainingKernels, products: ProductKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = torch.zeros(16, 32)
    assert own_products(weight, torch.bfloat16) is None  # not inside using
    with using(kernels):
        assert own_products(weight, torch.bfloat16) is products
        assert own_products(weight, torch.float32) is None
        assert own_products(torch.zeros(16, 33), torch.bfloat16) is None
        monkeypatch.setattr(ProductKernels, "are_fastest", property(lambda _: False))
        assert own_products(weight, torch.bfloat16) is None


def test_the_output_layer_adds_up_its_parts_in_float32(kernels: TrainingKernels, products: ProductKernels) -> None:
    assert products.are_fastest
    weight, x, grad = torch.randn(50, 32), torch.randn(64, 32).bfloat16(), torch.randn(64, 50).bfloat16()
    with using(kernels):
        own = make_products(weight, torch.bfloat16, wants_input_grad=True)
    assert_near(own.forward(x), x.double() @ rounded(weight).t(), torch.bfloat16)
    assert_near(own.input_grad(grad), grad.double() @ rounded(weight), torch.float32)
    for part in range(2):
        own.add_weight_grad(grad[32 * part :][:32], x[32 * part :][:32])
    assert_near(own.weight_grad(), grad.double().t() @ x.double(), torch.float32)


@pytest.mark.parametrize("num_threads", [2, 3])
def test_results_do_not_depend_on_the_number_of_threads(
    kernels: TrainingKernels, products: ProductKernels, num_threads: int
) -> None:
    assert products.are_fastest
    torch.manual_seed(4)
    layer, x = nn.Linear(64, 160), torch.randn(300, 64, requires_grad=True)
    targets = torch.randint(160, (300,))
    before = torch.get_num_threads()

    def compute() -> list[Tensor]:
        with using(kernels), torch.autocast("cpu", dtype=torch.bfloat16):
            output = compiled_linear(x, layer.weight, layer.bias, relu=True)
            assert output is not None
            loss, _ = linear_cross_entropy(x, layer.weight, targets)
        leaves = (x, layer.weight, layer.bias)
        return [output, *torch.autograd.grad(output.square().sum(), leaves), *torch.autograd.grad(loss, leaves[:2])]

    try:
        torch.set_num_threads(1)
        expected = compute()
        torch.set_num_threads(num_threads)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(compute(), expected, strict=True))
    finally:
        torch.set_num_threads(before)


def test_rows_of_another_format_are_left_to_torch(kernels: TrainingKernels, products: ProductKernels) -> None:
    assert products.are_fastest
    layer, x = nn.Linear(32, 16), torch.randn(5, 32).half().requires_grad_()
    with using(kernels), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = layer(x)
        output = compiled_linear(x, layer.weight, layer.bias, relu=False)
    assert_close(expected if output is None else output, expected, rtol=2e-2, atol=2e-2)


def test_memory_that_need_not_last_is_used_again(products: ProductKernels) -> None:
    first, second = torch.randn(48, 32), torch.randn(32, 64)
    lasting = products.pack(first)
    places = {products.pack(weight, lasting=False).data_ptr() for weight in (second, first, second)}
    assert len(places) == 1
    assert lasting.data_ptr() not in places
    assert torch.equal(products.pack(first, lasting=False), lasting)
