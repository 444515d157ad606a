"""The compiled kernels of training compute what torch's operators do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from seqtrain.nn.attention_backends import AttentionShape, attend_rows
from seqtrain.nn.attention_shape import padding_bias
from seqtrain.nn.compiled_functions import compiled_attention, compiled_linear, compiled_residual_norm
from seqtrain.nn.feed_forward import FeedForward
from seqtrain.nn.layout import Layout
from seqtrain.nn.linear import Linear
from seqtrain.nn.linear_cross_entropy import linear_cross_entropy
from seqtrain.nn.native.build import find_compiler
from seqtrain.nn.options import Activation, LayerOptions
from seqtrain.nn.products import multiplies_fast
from seqtrain.nn.training_kernels import TrainingKernels, kernels_in_use, using

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
FORMATS = [torch.float32, torch.bfloat16]
needs_bfloat16 = pytest.mark.skipif(not multiplies_fast(torch.bfloat16), reason="no instructions for bfloat16")
TOLERANCES = {torch.float32: (2e-5, 2e-5), torch.bfloat16: (2e-2, 4e-2)}  # relative, absolute


def assert_near(found: Sequence[Tensor], expected: Sequence[Tensor], dtype: torch.dtype) -> None:
    relative, absolute = TOLERANCES[dtype]
    assert_close(found, expected, rtol=relative, atol=absolute)


def test_they_are_used_inside_using_alone(kernels: TrainingKernels) -> None:
    assert kernels_in_use(torch.float32) is None
    with using(kernels):
        assert kernels_in_use(torch.float32, torch.bfloat16) is kernels
        assert kernels_in_use(torch.float16) is None
        with using(None):
            assert kernels_in_use(torch.float32) is None
    assert kernels_in_use(torch.float32) is None


# ---- Softmax and its gradient ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_types", [1, 15, 16, 37, 1024])
@pytest.mark.parametrize("dtype", FORMATS)
def test_logits_become_the_gradient_of_their_cross_entropy(
    kernels: TrainingKernels, num_types: int, dtype: torch.dtype
) -> None:
    logits = (torch.randn(5, num_types) * 10).to(dtype)
    targets = torch.randint(num_types, (5,))
    expected = logits.double().softmax(dim=1)
    expected[torch.arange(5), targets] -= 0.9
    exact = logits.double()
    norms, target_logits = kernels.softmax_gradient(logits, targets, target_share=0.9, wants_gradient=True)
    assert_close(norms.double(), exact.logsumexp(dim=1), rtol=1e-6, atol=1e-6)
    assert_close(target_logits.double(), exact[torch.arange(5), targets], rtol=0, atol=0)
    relative = 2**-8 if dtype is torch.bfloat16 else 1e-6
    assert_close(logits.double(), expected, rtol=relative, atol=1e-6)


def test_logits_stay_where_no_gradient_is_wanted(kernels: TrainingKernels) -> None:
    logits = torch.randn(3, 20)
    before = logits.clone()
    kernels.softmax_gradient(logits, torch.tensor([0, 5, 19]), target_share=1.0, wants_gradient=False)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 33])
def test_what_is_no_number_shows_in_the_loss(kernels: TrainingKernels, bad: float, place: int) -> None:
    logits = torch.randn(2, 34)
    logits[1, place] = bad
    norms, _ = kernels.softmax_gradient(logits, torch.tensor([1, 1]), target_share=1.0, wants_gradient=True)
    assert norms.isfinite().tolist() == [True, False]
    assert logits[0].isfinite().all()
    assert not logits[1].isfinite().any()


def test_probabilities_far_below_the_greatest_are_zero(kernels: TrainingKernels) -> None:
    logits = torch.tensor([[0.0, -80.0, -1000.0, -math.inf]])
    norms, _ = kernels.softmax_gradient(logits, torch.tensor([0]), target_share=0.0, wants_gradient=True)
    assert norms.item() == 0.0
    assert_close(logits, torch.tensor([[1.0, math.exp(-80), 0.0, 0.0]]), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_loss_and_its_gradients_are_those_without_kernels(kernels: TrainingKernels, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    features, weight = torch.randn(70, 16), torch.randn(33, 16)
    targets = torch.randint(33, (70,))

    def compute() -> tuple[Tensor, ...]:
        leaves = features.clone().requires_grad_(), weight.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            loss, nll = linear_cross_entropy(*leaves, targets, label_smoothing=0.1)
        return loss.detach(), nll, *torch.autograd.grad(loss, leaves)

    expected = compute()
    with using(kernels):
        found = compute()
    assert_near(found, expected, dtype)


# ---- Attention -------------------------------------------------------------------------------------------------------


def reference(query: Tensor, key_value: Tensor | None, shape: AttentionShape, lengths: list[list[int]]) -> Tensor:
    """Attention sequence by sequence in float64, on rows that stand one sequence after the other."""
    width = query.shape[1] // (3 if key_value is None else 1)
    query = query.double()
    keys = query[:, width:] if key_value is None else key_value.double()
    pieces, first, first_key = [], 0, 0
    for num_queries, num_keys in zip(*lengths, strict=True):
        q, k, v = (
            rows.unflatten(1, (shape.num_heads, -1)).transpose(0, 1)
            for rows in (
                query[first : first + num_queries, :width],
                keys[first_key : first_key + num_keys, :width],
                keys[first_key : first_key + num_keys, width:],
            )
        )
        heads = functional.scaled_dot_product_attention(q, k, v, is_causal=shape.is_causal)
        pieces.append(heads.transpose(0, 1).flatten(1))
        first, first_key = first + num_queries, first_key + num_keys
    return torch.cat(pieces)


def packed_layout(lengths: list[int]) -> Layout:
    is_token = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Layout.packed(is_token)


def with_gradients(output: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(11)
    weights = torch.randn(output.shape, generator=generator, dtype=torch.float32).to(output.dtype)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), leaves)]


@pytest.mark.parametrize("dim", [16, 32, 48])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("lengths", [[3], [1, 17, 5, 16], [70, 2, 129]])
def test_self_attention_stays_within_each_sequence(
    kernels: TrainingKernels, dim: int, dtype: torch.dtype, is_causal: bool, lengths: list[int]
) -> None:
    torch.manual_seed(2)
    layout = packed_layout(lengths)
    shape = AttentionShape(2, layout, layout, is_causal=is_causal)
    rows = torch.randn(layout.num_rows, 3 * 2 * dim).to(dtype).requires_grad_()
    bias = None if is_causal else padding_bias(torch.tensor(lengths), max(lengths))
    with using(kernels):
        output = compiled_attention(rows, None, bias, shape)
    assert output is not None
    num_tokens = sum(lengths)
    assert (output[num_tokens:] == 0.0).all()
    found = with_gradients(output[:num_tokens], [rows])
    exact = rows.detach().double().requires_grad_()
    expected = with_gradients(reference(exact, None, shape, [lengths, lengths]), [exact])
    assert_near([tensor.double() for tensor in found], expected, dtype)


@pytest.mark.parametrize("dtype", FORMATS)
def test_cross_attention_reads_the_sequence_of_the_same_number(kernels: TrainingKernels, dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    lengths = [[4, 1, 20], [7, 66, 2]]
    layouts = [packed_layout(own) for own in lengths]
    shape = AttentionShape(3, layouts[0], layouts[1])
    query = torch.randn(layouts[0].num_rows, 48).to(dtype).requires_grad_()
    key_value = torch.randn(layouts[1].num_rows, 96).to(dtype).requires_grad_()
    with using(kernels):
        output = compiled_attention(query, key_value, padding_bias(torch.tensor(lengths[1]), 66), shape)
    assert output is not None
    found = with_gradients(output[:25], [query, key_value])
    exact = [tensor.detach().double().requires_grad_() for tensor in (query, key_value)]
    expected = with_gradients(reference(exact[0], exact[1], shape, lengths), exact)
    assert_near([tensor.double() for tensor in found], expected, dtype)


def test_a_bias_of_keys_is_added_to_all_their_scores(kernels: TrainingKernels) -> None:
    torch.manual_seed(2)
    layout = Layout(2, 5, 10)
    shape = AttentionShape(1, layout, layout)
    rows = torch.randn(10, 48).requires_grad_()
    bias = torch.randn(2, 1, 1, 5)
    with using(kernels):
        found = compiled_attention(rows, None, bias, shape)
    assert found is not None
    assert_close(found, attend_rows(rows, None, bias, shape), rtol=1e-5, atol=1e-5)


def test_rows_that_are_a_view_are_read_as_they_are(kernels: TrainingKernels) -> None:
    layout = Layout(2, 5, 10)
    shape = AttentionShape(1, layout, layout)
    wide = torch.randn(10, 60, requires_grad=True)
    expected = with_gradients(attend_rows(wide[:, 5:53].contiguous(), None, None, shape), [wide])
    with using(kernels):
        found = with_gradients(attend_rows(wide[:, 5:53], None, None, shape), [wide])
    assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_models_attention_takes_the_kernel_where_it_trains(kernels: TrainingKernels) -> None:
    torch.manual_seed(2)
    layout = packed_layout([4, 9])
    shape = AttentionShape(2, layout, layout, is_causal=True)
    rows = torch.randn(layout.num_rows, 96, requires_grad=True)
    expected = attend_rows(rows, None, None, shape)
    with using(kernels):
        found = attend_rows(rows, None, None, shape)
    assert found.grad_fn is not None
    assert expected.grad_fn is not None
    assert found.grad_fn.name() != expected.grad_fn.name()
    assert_close(found[:13], expected[:13], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "width", "bias"),
    [
        (AttentionShape(2, Layout(1, 3, 3), Layout(1, 3, 3), dropout=0.1), 96, None),
        (AttentionShape(2, Layout(1, 3, 3), Layout(1, 3, 3)), 48, None),
        (AttentionShape(2, Layout(1, 3, 3), Layout(1, 3, 3)), 96, torch.zeros(1, 2, 3, 3)),
    ],
)
def test_other_attention_is_left_to_torch(
    kernels: TrainingKernels, shape: AttentionShape, width: int, bias: Tensor | None
) -> None:
    with using(kernels):
        assert compiled_attention(torch.zeros(3, width, requires_grad=True), None, bias, shape) is None


# ---- Linear layers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_output", [False, True])
@pytest.mark.parametrize("num_rows", [0, 1, 64, 150])
@pytest.mark.parametrize("dtype", FORMATS)
def test_a_linear_layers_gradient_passes_where_relu_did(
    kernels: TrainingKernels, num_rows: int, dtype: torch.dtype, with_output: bool
) -> None:
    torch.manual_seed(2)
    grad = torch.randn(num_rows, 48).to(dtype)
    output = torch.randn(num_rows, 48).relu().to(dtype) if with_output else None
    passed, sums = kernels.linear_gradient(grad, output)
    expected = grad if output is None else grad * (output > 0)
    assert torch.equal(passed, expected)
    assert_close(sums.double(), expected.double().sum(dim=0), rtol=1e-5, atol=1e-5)


@needs_bfloat16
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("x_dtype", FORMATS)
def test_a_linear_layer_is_that_of_torch_under_autocast(
    kernels: TrainingKernels, x_dtype: torch.dtype, relu: bool
) -> None:
    torch.manual_seed(2)
    layer, x, weights = Linear(24, 32), torch.randn(70, 24).to(x_dtype), torch.randn(70, 32)

    def compute(*, is_compiled: bool) -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        with using(kernels if is_compiled else None), torch.autocast("cpu", dtype=torch.bfloat16):
            output = layer(leaf, relu=relu)
        assert ("_Linear" in output.grad_fn.name()) is is_compiled
        return [output.detach(), *torch.autograd.grad((output * weights).sum(), (leaf, layer.weight, layer.bias))]

    found, expected = compute(is_compiled=True), compute(is_compiled=False)
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
    assert torch.equal(found[0] == 0.0, expected[0] == 0.0)
    assert_near(found, expected, torch.bfloat16)


@needs_bfloat16
def test_a_frozen_weight_has_no_gradient(kernels: TrainingKernels) -> None:
    layer, x = Linear(16, 16).requires_grad_(requires_grad=False), torch.randn(3, 16, requires_grad=True)
    with using(kernels), torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x, relu=True).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None


@needs_bfloat16
@pytest.mark.parametrize("is_autocast", [False, True])
def test_other_linear_layers_are_left_to_torch(kernels: TrainingKernels, is_autocast: bool) -> None:
    weight, bias = torch.zeros(20, 8, requires_grad=True), torch.zeros(20, requires_grad=True)  # 20: no whole vectors
    narrow = (torch.zeros(2, 8), weight[:16], bias[:16])
    with using(kernels), torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_autocast):
        assert (compiled_linear(*narrow, relu=False) is not None) is is_autocast
        assert compiled_linear(torch.zeros(2, 8), weight, bias, relu=False) is None
        assert compiled_linear(torch.zeros(1, 2, 8), weight[:16], bias[:16], relu=False) is None
        assert compiled_linear(torch.zeros(2, 8), weight[:16], None, relu=False) is None
        assert compiled_linear(torch.zeros(2, 8).double(), weight[:16], bias[:16], relu=False) is None
        with torch.no_grad():
            assert compiled_linear(*narrow, relu=False) is None


def test_another_module_in_the_place_of_a_linear_layer_is_called_as_it_is(kernels: TrainingKernels) -> None:
    options = LayerOptions(embed_dim=16, ffn_embed_dim=32, num_heads=1, activation=Activation.relu)
    network = FeedForward(options)
    x = torch.randn(5, 16)
    expected = network(x)
    plain = nn.Linear(16, 32)
    plain.load_state_dict(network.inner.state_dict())
    network.inner = plain  # type: ignore[assignment] # as a plug-in may
    with using(kernels):
        assert_close(network(x), expected)


@pytest.mark.parametrize("num_threads", [2, 3])
def test_results_do_not_depend_on_the_number_of_threads(kernels: TrainingKernels, num_threads: int) -> None:
    before = torch.get_num_threads()
    layout = packed_layout([30, 5, 5, 60])
    shape = AttentionShape(2, layout, layout)
    rows = torch.randn(layout.num_rows, 96, requires_grad=True)
    norm = nn.LayerNorm(96)

    def compute() -> list[Tensor]:
        with using(kernels):
            output = compiled_attention(rows, None, None, shape)
            normal = compiled_residual_norm(rows, rows, 0.0, norm)
        assert output is not None
        assert normal is not None
        _, sums = kernels.linear_gradient(rows.detach(), None)
        return [sums, *with_gradients(torch.cat([output, normal], dim=1), [rows, norm.weight, norm.bias])]

    try:
        torch.set_num_threads(1)
        expected = compute()
        torch.set_num_threads(num_threads)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(compute(), expected, strict=True))
    finally:
        torch.set_num_threads(before)
