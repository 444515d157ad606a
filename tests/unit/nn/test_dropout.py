from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from seqtrain.nn.dropout import add_dropout, draw_dropped, dropout, dropout_mask
from seqtrain.nn.native.build import find_compiler
from seqtrain.nn.training_kernels import TrainingKernels, using

NUM_ELEMENTS = 400_000


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.9])
def test_so_many_elements_are_zero(probability: float) -> None:
    torch.manual_seed(1)
    share = (dropout_mask(torch.empty(NUM_ELEMENTS), probability) == 0).float().mean().item()
    deviation = (probability * (1 - probability) / NUM_ELEMENTS) ** 0.5
    assert abs(share - probability) < 5 * deviation


def test_neighbours_are_independent() -> None:
    """Four elements share one random number of 64 bits: their zeros must not go together."""
    torch.manual_seed(1)
    dropped = (dropout_mask(torch.empty(NUM_ELEMENTS), 0.5) == 0).float()
    for distance in range(1, 9):
        correlation = torch.corrcoef(torch.stack([dropped[:-distance], dropped[distance:]]))[0, 1]
        assert abs(correlation) < 5 / NUM_ELEMENTS**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_rest_is_scaled_up(dtype: torch.dtype) -> None:
    mask = dropout_mask(torch.empty(64, 3, dtype=dtype), 0.25)
    assert mask.dtype is dtype
    assert mask.shape == (64, 3)
    assert set(mask.flatten().tolist()) == {0.0, float(torch.tensor(4 / 3, dtype=dtype))}


def test_the_mean_stays() -> None:
    torch.manual_seed(1)
    assert dropout(torch.ones(NUM_ELEMENTS), 0.3, training=True).mean().item() == pytest.approx(1.0, abs=0.01)


def test_the_seed_of_torch_decides() -> None:
    x = torch.ones(1001)
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(dropout(x, 0.3, training=True))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_streams_differ() -> None:
    """Each serves 131,072 elements."""
    dropped = (dropout_mask(torch.empty(2**18), 0.5) == 0).float().view(2, -1)
    assert abs(torch.corrcoef(dropped)[0, 1]) < 5 / 2**8.5


@pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("num_elements", [1, 33, 2**17 + 5, 2**20 + 2**18])
def test_the_compiled_kernel_draws_the_same(num_elements: int) -> None:
    drawn = []
    for kernels in (None, TrainingKernels()):
        torch.manual_seed(5)
        with using(kernels):
            drawn.append(draw_dropped(num_elements, 0.5).bits)
    assert drawn[0] is not None
    assert drawn[1] is not None
    assert torch.equal(drawn[0], drawn[1])
    assert len(drawn[0]) >= num_elements


@pytest.mark.parametrize(("probability", "training"), [(0.5, False), (0.0, True)])
def test_it_can_be_off(probability: float, training: bool) -> None:
    x, output = torch.ones(10), torch.full((10,), 2.0)
    assert dropout(x, probability, training) is x
    assert add_dropout(x, output, probability, training).tolist() == [3.0] * 10


def test_adding_is_dropout_and_a_sum() -> None:
    x, output = torch.randn(30, 7), torch.randn(30, 7, requires_grad=True)
    torch.manual_seed(1)
    together = add_dropout(x, output, 0.4, training=True)
    torch.manual_seed(1)
    apart = x + dropout(output, 0.4, training=True)
    assert_close(together, apart)
    gradients = [torch.autograd.grad(total.square().sum(), output)[0] for total in (together, apart)]
    assert_close(*gradients)


def test_adding_keeps_the_format_of_the_sum() -> None:
    total = add_dropout(torch.zeros(8), torch.ones(8, dtype=torch.bfloat16), 0.5, training=True)
    assert total.dtype is torch.float32
