"""Linear layers that are laid out once."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from seqtrain.nn.packed_linear import multiplies_int8, pack_linear

ROWS, WIDTH, OUTPUTS = 24, 128, 2048  # a weight of 2**18 numbers

needs_int8 = pytest.mark.skipif(not multiplies_int8(), reason="this CPU has no instructions for 8-bit integers")


def parts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, WIDTH, generator=generator)
    return x, torch.randn(OUTPUTS, WIDTH, generator=generator), torch.randn(OUTPUTS, generator=generator)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.5)])
def test_a_packed_layer_is_the_linear_map(dtype: torch.dtype, tolerance: float) -> None:
    x, weight, bias = parts()
    packed, expected = pack_linear(weight, bias, dtype), functional.linear(x, weight, bias)
    residual = torch.ones(ROWS, OUTPUTS)
    for found, wanted in (
        (packed(x.to(dtype)), expected),
        (packed(x.to(dtype), residual.to(dtype)), expected + 1),
        (packed.relu(x.to(dtype)), expected.relu()),
        (pack_linear(weight, None, dtype)(x.to(dtype)), expected - bias),
    ):
        assert found.dtype is dtype
        torch.testing.assert_close(found.float(), wanted, atol=tolerance, rtol=1e-2)


@needs_int8
def test_integers_err_by_half_a_step_a_factor() -> None:
    x, weight, bias = parts()
    packed, expected = pack_linear(weight, bias, torch.float32, int8=True), functional.linear(x, weight, bias)
    # each factor is off by a uniform error of a step's width, a 127th of the greatest: the variances add up
    step = x.abs().amax(dim=1, keepdim=True) / 127, weight.abs().amax(dim=1) / 127
    deviation = ((step[0] ** 2 * (weight**2).sum(1) + step[1] ** 2 * (x**2).sum(1, keepdim=True)) / 12).sqrt()
    for found, wanted in ((packed(x), expected), (packed(x, torch.ones(ROWS, OUTPUTS)), expected + 1)):
        error = (found - wanted) / deviation
        assert error.abs().max() < 6
        assert 0.9 < error.std() < 1.1
    assert packed.relu(x).min() == 0


@needs_int8
def test_a_row_gives_the_same_beside_any_others() -> None:
    x, weight, bias = parts()
    x[ROWS // 2 :] *= 1000
    packed = pack_linear(weight, bias, torch.float32, int8=True)
    assert torch.equal(packed(x)[:5], packed(x[:5]))


@needs_int8
def test_rows_of_zeros_give_the_bias() -> None:
    _, weight, bias = parts()
    torch.testing.assert_close(
        pack_linear(weight, bias, torch.float32, int8=True)(torch.zeros(3, WIDTH)), bias.expand(3, -1)
    )


@needs_int8
def test_small_weights_stay_as_they_are() -> None:
    x, weight, _ = parts()
    packed = pack_linear(weight[:64], None, torch.float32, int8=True)
    torch.testing.assert_close(packed(x), x @ weight[:64].t(), atol=1e-4, rtol=1e-5)


def test_a_packed_layer_keeps_its_weights() -> None:
    x, weight, bias = parts()
    packed = pack_linear(weight, bias, torch.float32)
    before = packed(x)
    weight.zero_()
    bias.zero_()
    assert torch.equal(packed(x), before)
