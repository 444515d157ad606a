"""The fused loss against the formula, in float64, and against torch in the formats that train."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqtrain.nn import linear_cross_entropy as module
from seqtrain.nn.linear_cross_entropy import cross_entropy, linear_cross_entropy

NUM_TYPES, WIDTH = 11, 5


def inputs(num_tokens: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(num_tokens, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(NUM_TYPES, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(NUM_TYPES, (num_tokens,), generator=generator)
    return features, weight, targets


def by_formula(features: Tensor, weight: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Fairseq's loss as reference/fairseq.md 2.2 writes it, one token at a time."""
    spread = smoothing / (NUM_TYPES - 1)
    log_probabilities = (features @ weight.T).log_softmax(dim=1)
    nll = -torch.stack([row[target] for row, target in zip(log_probabilities, targets.tolist(), strict=True)])
    smooth = -log_probabilities.sum(dim=1)
    return ((1 - smoothing - spread) * nll + spread * smooth).sum(), nll.sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("num_tokens", [1, 64, 200])
def test_loss_and_gradients_follow_the_formula(num_tokens: int, smoothing: float) -> None:
    features, weight, targets = inputs(num_tokens)
    loss, nll = linear_cross_entropy(features, weight, targets, label_smoothing=smoothing)
    expected_loss, expected_nll = by_formula(features, weight, targets, smoothing)
    assert_close(loss, expected_loss)
    assert_close(nll, expected_nll)
    gradients = torch.autograd.grad(loss, (features, weight))
    assert_close(gradients, torch.autograd.grad(expected_loss, (features, weight)))


@pytest.mark.parametrize("part_bytes", [1, module._PART_BYTES])  # the least: one row
def test_several_chunks_and_parts_give_what_one_gives(monkeypatch: pytest.MonkeyPatch, part_bytes: int) -> None:
    features, weight, targets = inputs(300)
    whole, _ = linear_cross_entropy(features, weight, targets, label_smoothing=0.1)
    expected = torch.autograd.grad(whole, (features, weight))
    monkeypatch.setitem(module._CHUNK_BYTES, "cpu", 1)  # the least: 64 rows
    monkeypatch.setattr(module, "_PART_BYTES", part_bytes)
    chunked, _ = linear_cross_entropy(features, weight, targets, label_smoothing=0.1)
    assert_close(chunked, whole)
    assert_close(torch.autograd.grad(chunked, (features, weight)), expected)


def test_gradients_are_those_of_finite_differences() -> None:
    """Central differences along random directions; torch's gradcheck asks each graph twice, which is refused."""
    features, weight, targets = inputs(7)
    loss, _ = linear_cross_entropy(features, weight, targets, label_smoothing=0.2)
    gradients = torch.autograd.grad(loss, (features, weight))
    step = 1e-6
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        directions = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in (features, weight)]
        values = []
        for sign in (1, -1):
            moved = [t.detach() + sign * step * d for t, d in zip((features, weight), directions, strict=True)]
            values.append(linear_cross_entropy(moved[0], moved[1], targets, label_smoothing=0.2)[0].item())
        slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("factor", [3.0, 2.0**16])
def test_a_scaled_loss_has_scaled_gradients(factor: float) -> None:
    features, weight, targets = inputs(20)
    plain = torch.autograd.grad(linear_cross_entropy(features, weight, targets)[0], (features, weight))
    scaled = torch.autograd.grad(linear_cross_entropy(features, weight, targets)[0] * factor, (features, weight))
    for one, other in zip(scaled, plain, strict=True):
        assert_close(one, other * factor)


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_input_leaves_the_other_its_gradient(frozen: int) -> None:
    features, weight, targets = inputs(20)
    expected = torch.autograd.grad(by_formula(features, weight, targets, 0.1)[0], (features, weight))
    tensors = [features, weight]
    tensors[frozen] = tensors[frozen].detach()
    trained = tensors[1 - frozen]
    linear_cross_entropy(tensors[0], tensors[1], targets, label_smoothing=0.1)[0].backward()
    assert_close(trained.grad, expected[1 - frozen])


def test_without_gradients_the_losses_are_the_same() -> None:
    features, weight, targets = inputs(20)
    with torch.no_grad():
        loss, nll = linear_cross_entropy(features, weight, targets, label_smoothing=0.1)
    assert not loss.requires_grad
    assert_close((loss, nll), tuple(value.detach() for value in by_formula(features, weight, targets, 0.1)))


def test_the_reported_likelihood_has_no_gradient() -> None:
    features, weight, targets = inputs(4)
    assert not linear_cross_entropy(features, weight, targets)[1].requires_grad


def test_a_second_backward_pass_is_refused() -> None:
    features, weight, targets = inputs(4)
    loss, _ = linear_cross_entropy(features, weight, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()


def test_float32_agrees_with_float64() -> None:
    features, weight, targets = inputs(150)
    expected, _ = linear_cross_entropy(features, weight, targets, label_smoothing=0.1)
    expected_gradients = torch.autograd.grad(expected, (features, weight))
    single = [tensor.detach().float().requires_grad_() for tensor in (features, weight)]
    loss, _ = linear_cross_entropy(single[0], single[1], targets, label_smoothing=0.1)
    assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    for one, other in zip(torch.autograd.grad(loss, single), expected_gradients, strict=True):
        assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


def test_bfloat16_autocast_sums_in_float32() -> None:
    """The products are rounded to 8 bits; the loss of uniform probabilities, which are exact, is not."""
    features, weight, targets = inputs(500, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, nll = linear_cross_entropy(features, torch.zeros_like(weight), targets)
        rounded, _ = linear_cross_entropy(features, weight, targets)
    assert loss.dtype is nll.dtype is torch.float32
    assert loss.item() == pytest.approx(500 * math.log(NUM_TYPES), rel=1e-6)
    exact, _ = linear_cross_entropy(features, weight, targets)
    assert rounded.item() == pytest.approx(exact.item(), rel=5e-3)
    gradients = torch.autograd.grad(rounded, (features, weight))
    for one, other in zip(gradients, torch.autograd.grad(exact, (features, weight)), strict=True):
        assert one.dtype is torch.float32
        assert (one - other).norm() < 0.02 * other.norm()


def test_float16_keeps_small_probabilities_in_the_gradient() -> None:
    """One type takes nearly all the probability; the others' share lies below the range of float16."""
    features = torch.tensor([[20.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [0.0], [0.0]], requires_grad=True)
    with torch.autocast("cpu", dtype=torch.float16):
        loss, _ = linear_cross_entropy(features, weight, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss, weight)
    assert gradient[1, 0].item() == pytest.approx(20.0 * math.exp(-20.0), rel=0.05)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_unfused_loss_follows_the_formula(smoothing: float) -> None:
    features, weight, targets = inputs(9)
    expected = by_formula(features, weight, targets, smoothing)
    assert_close(cross_entropy(features @ weight.T, targets, label_smoothing=smoothing), expected)


def test_float16_sums_the_gradient_of_the_weight_in_float32() -> None:
    """Of 500 equal targets each adds nearly one to the gradient of its type, before the scale of float16."""
    features = torch.ones(500, 8)
    weight = torch.zeros(NUM_TYPES, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.float16):
        loss_sum, _ = linear_cross_entropy(features, weight, torch.zeros(500, dtype=torch.long))
    loss_sum.backward()
    assert weight.grad is not None
    assert_close(weight.grad[0], torch.full((8,), 500 * (1 / NUM_TYPES - 1)), rtol=1e-3, atol=0.0)


def test_unfused_loss_of_half_precision_logits_is_summed_in_float32() -> None:
    logits = torch.zeros(3000, NUM_TYPES, dtype=torch.bfloat16)
    loss, _ = cross_entropy(logits, torch.zeros(3000, dtype=torch.long))
    assert loss.item() == pytest.approx(3000 * math.log(NUM_TYPES), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_compiled_loss_is_the_same_without_a_break_in_its_graph(dtype: torch.dtype) -> None:
    def compute(features: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
            return linear_cross_entropy(features, weight, targets, label_smoothing=0.1)

    features, weight, targets = inputs(200, torch.float32)
    compiled_loss, compiled_nll = torch.compile(compute, backend="aot_eager", fullgraph=True)(features, weight, targets)
    loss, nll = compute(features, weight, targets)
    assert_close((compiled_loss, compiled_nll), (loss, nll))
    gradients = torch.autograd.grad(2 * compiled_loss, (features, weight))
    assert_close(gradients, torch.autograd.grad(2 * loss, (features, weight)))


def test_the_operator_for_graphs_keeps_what_it_promises() -> None:
    features, weight, targets = inputs(70, torch.float32)
    torch.library.opcheck(module._operator, (features, weight, targets, 0.1, torch.float32))
