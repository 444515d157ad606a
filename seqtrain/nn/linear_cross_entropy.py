"""The output layer and the cross-entropy in one operation that never holds all logits.

Shapes: N tokens, D features, V entries of the vocabulary, C tokens of a chunk.

With the logits z of a token, its target y and the smoothing ε, fairseq's loss spreads e = ε / (V - 1) over every type:

    loss = (1 - ε - e) (lse(z) - z_y) + e Σ_v (lse(z) - z_v)
    d loss / d z_v = softmax(z)_v - e - (1 - ε - e) [v = y]

So one softmax, made in place, is nearly the gradient already. The constant e needs no pass over the logits: its share
in the loss and in the gradients follows from the sums of the features and of the weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seqtrain.nn.products import make_products
from seqtrain.nn.training_kernels import kernels_in_use

__all__ = ["cross_entropy", "linear_cross_entropy"]

_CHUNK_BYTES = {"cpu": 2**25, "cuda": 2**27}  # of logits: large enough for fast products, small enough to reuse
_PART_BYTES = 2**22  # of float32 logits that several passes in a row find in the cache of a CPU
_ROW_MULTIPLE = 64  # few different sizes, for which kernels are made only once
_HALF_SCALE = 4096.0  # lifts the probabilities of a large vocabulary into the range of float16


def linear_cross_entropy(
    features: Tensor, weight: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The label-smoothed cross-entropy of the logits features @ weight.T.

    The products run in the number format of autocast where it is on; softmax and sums run in float32 at least. A
    backward pass uses up what the forward pass has computed: there can be only one.

    Args:
        features: (N, D).
        weight: (V, D).
        targets: (N,) int64.
        label_smoothing: The probability mass ε that all types but the target share.

    Returns:
        The loss and the negative log-likelihood, each () and summed over the tokens, in nats. Only the loss has a
        gradient.
    """
    device_type = features.device.type
    if not torch.amp.is_autocast_available(device_type) or not torch.is_autocast_enabled(device_type):
        return _compute(features, weight, targets, label_smoothing, features.dtype)
    dtype = torch.get_autocast_dtype(device_type)
    with torch.autocast(device_type, enabled=False):
        return _compute(features, weight, targets, label_smoothing, dtype)


def _compute(
    features: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """See `linear_cross_entropy`; dtype is the number format of the products."""
    if torch.compiler.is_compiling():
        loss_sum, nll_sum, _, _ = _operator(features, weight, targets, label_smoothing, dtype)
    else:
        loss_sum, nll_sum = _LinearCrossEntropy.apply(features, weight, targets, label_smoothing, dtype)  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
    return loss_sum, nll_sum


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The same loss from logits (N, V) that are already there; see `linear_cross_entropy`."""
    log_probabilities = functional.log_softmax(logits, dim=-1, dtype=_at_least_float32(logits.dtype))
    nll_sum = -log_probabilities.gather(1, targets[:, None]).sum()
    if label_smoothing == 0.0:
        return nll_sum, nll_sum.detach()
    spread = label_smoothing / (logits.shape[1] - 1)
    loss_sum = (1.0 - label_smoothing - spread) * nll_sum - spread * log_probabilities.sum()
    return loss_sum, nll_sum.detach()


class _LinearCrossEntropy(torch.autograd.Function):
    """Computes the gradients, where they are wanted, together with the loss."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """See `_compute`."""
        wants_features, wants_weight, *_ = ctx.needs_input_grad
        result = _loss_and_gradients(
            features, weight, targets, label_smoothing, _Wish(dtype, features=wants_features, weight=wants_weight)
        )
        ctx.features_grad, ctx.weight_grad = result.features_grad, result.weight_grad
        ctx.scale, ctx.formats = _scale_of(dtype), (features.dtype, weight.dtype)
        ctx.mark_non_differentiable(result.nll_sum)
        return result.loss_sum, result.nll_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss_grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        """Scale the gradients that the forward pass has made."""
        gradients: tuple[Tensor | None, Tensor | None] = ctx.features_grad, ctx.weight_grad
        wanted = ctx.needs_input_grad[:2]
        if any(wants and gradient is None for wants, gradient in zip(wanted, gradients, strict=True)):
            raise RuntimeError("linear_cross_entropy was asked for its gradient a second time")
        ctx.features_grad, ctx.weight_grad = None, None  # so that autograd takes them without a copy
        factor = loss_grad / ctx.scale
        is_one = factor.device.type == "cpu" and factor.item() == 1.0
        scaled = (
            None if gradient is None else (gradient if is_one else gradient.mul_(factor)).to(dtype)
            for gradient, dtype in zip(gradients, ctx.formats, strict=True)
        )
        return (*scaled, None, None, None)


@dataclass(frozen=True)
class _Wish:
    """What is computed.

    Attributes:
        dtype: The number format of the products.
        features: Whether the features want a gradient.
        weight: Whether the weight wants one.
    """

    dtype: torch.dtype
    features: bool
    weight: bool


@dataclass(frozen=True)
class _LossAndGradients:
    """The loss, and its gradients times `_scale_of` the number format where they are wanted.

    Attributes:
        loss_sum: ().
        nll_sum: ().
        features_grad: (N, D), in float32 at least.
        weight_grad: (V, D), in float32 at least.
    """

    loss_sum: Tensor
    nll_sum: Tensor
    features_grad: Tensor | None
    weight_grad: Tensor | None


def _loss_and_gradients(
    features: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float, wish: _Wish
) -> _LossAndGradients:
    """Chunk by chunk: logits, loss and, where it is wanted, at once the gradient; see `linear_cross_entropy`."""
    dtype = wish.dtype
    spread = label_smoothing / (len(weight) - 1)
    target_share = 1.0 - label_smoothing - spread
    products = make_products(weight, dtype, wants_input_grad=wish.features)
    scale = _scale_of(dtype)
    norms: list[Tensor] = []
    target_logits: list[Tensor] = []
    features_grads = []
    for chunk in _chunks(features, targets, len(weight), dtype):
        logits = products.forward(chunk.features)  # (C, D) -> (C, V)
        chunk_norms, chunk_target_logits = _make_gradient(logits, chunk.targets, target_share, wish)
        norms += chunk_norms
        target_logits += chunk_target_logits
        logits[chunk.num_real :] = 0.0  # the rows that stand for no token
        if wish.features:
            features_grads.append(products.input_grad(logits)[: chunk.num_real])  # (C, V) -> (C, D)
        if wish.weight:
            products.add_weight_grad(logits, chunk.features)
    norm = torch.cat(norms)[: len(features)]  # only the last chunk has rows that stand for no token
    nll_sum = (norm - torch.cat(target_logits)[: len(features)]).sum()
    features_sum, weight_sum = features.sum(dim=0).to(norm.dtype), weight.sum(dim=0).to(norm.dtype)  # (D,)
    smooth_sum = len(weight) * norm.sum() - torch.dot(features_sum, weight_sum)
    features_grad = weight_grad = None
    if wish.features:
        features_grad = torch.cat(features_grads).to(norm.dtype).sub_(weight_sum, alpha=spread * scale)
    if wish.weight:
        weight_grad = products.weight_grad().sub_(features_sum, alpha=spread * scale)
    return _LossAndGradients(target_share * nll_sum + spread * smooth_sum, nll_sum, features_grad, weight_grad)


@torch.library.custom_op("seqtrain::linear_cross_entropy", mutates_args=())
def _operator(
    features: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same as one operator, of which torch.compile knows the shapes and the gradient, and no more.

    Returns:
        The loss, the negative log-likelihood, and the two gradients times `_scale_of` the number format.
    """
    wish = _Wish(dtype, features=True, weight=True)
    result = _loss_and_gradients(features, weight, targets, label_smoothing, wish)
    assert result.features_grad is not None, "wished for"
    assert result.weight_grad is not None, "wished for"
    return result.loss_sum, result.nll_sum, result.features_grad, result.weight_grad


@_operator.register_fake
def _shapes(
    features: Tensor, weight: Tensor, _targets: Tensor, _label_smoothing: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shapes = ((), (), features.shape, weight.shape)
    loss_sum, nll_sum, *gradients = (features.new_empty(shape, dtype=_at_least_float32(dtype)) for shape in shapes)
    return loss_sum, nll_sum, gradients[0], gradients[1]


def _keep_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    features, weight, _, _, dtype = inputs
    ctx.scale, ctx.formats = _scale_of(dtype), (features.dtype, weight.dtype)
    ctx.save_for_backward(*output[2:])


def _scale_gradients(ctx: Any, loss_grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    factor = loss_grad / ctx.scale
    wanted = zip(ctx.needs_input_grad, ctx.saved_tensors, ctx.formats, strict=False)
    scaled = ((gradient * factor).to(dtype) if wants else None for wants, gradient, dtype in wanted)
    return (*scaled, None, None, None)


_operator.register_autograd(_scale_gradients, setup_context=_keep_gradients)


@dataclass
class _Chunk:
    """Some rows, and zeros below them that make their number round.

    Attributes:
        features: (C, D), in the format of the products.
        targets: (C,) int64.
        num_real: C without the zeros.
    """

    features: Tensor
    targets: Tensor
    num_real: int


def _chunks(features: Tensor, targets: Tensor, num_types: int, dtype: torch.dtype) -> Iterator[_Chunk]:
    """Cut the tokens (N, D), (N,) into chunks of about equal size."""
    num_tokens = len(features)
    limit = max(_ROW_MULTIPLE, _CHUNK_BYTES.get(features.device.type, 2**25) // (dtype.itemsize * num_types))
    num_chunks = max(1, -(-num_tokens // limit))
    size = -(-num_tokens // num_chunks)
    size = -(-size // _ROW_MULTIPLE) * _ROW_MULTIPLE
    for start in range(0, num_tokens, size):
        x, y = features[start : start + size], targets[start : start + size]
        missing = -len(x) % _ROW_MULTIPLE
        padded = functional.pad(x, (0, 0, 0, missing)), functional.pad(y, (0, missing))
        yield _Chunk(padded[0].to(dtype), padded[1], len(x))


def _make_gradient(
    logits: Tensor, targets: Tensor, target_share: float, wish: _Wish
) -> tuple[list[Tensor], list[Tensor]]:
    """Turn logits (C, V) in place into their gradient without the constant e, if any is wanted.

    Returns:
        The log-sum-exps and the logits of the targets, each (C,) in pieces.
    """
    wants_gradient = wish.features or wish.weight
    kernels = kernels_in_use(logits.dtype)
    if kernels is not None:
        norms, target_logits = kernels.softmax_gradient(
            logits, targets, target_share=target_share, wants_gradient=wants_gradient
        )
        return [norms], [target_logits]
    scale = _scale_of(wish.dtype)
    pieces: tuple[list[Tensor], list[Tensor]] = ([], [])
    for part, targets_of_part in _parts(logits, targets):
        scores = part.to(_at_least_float32(wish.dtype))
        pieces[1].append(scores.gather(1, targets_of_part[:, None])[:, 0])
        pieces[0].append(_softmax_in_place(scores))
        if wants_gradient:
            _subtract_target(scores, targets_of_part, target_share)
            part.copy_(scores if scale == 1.0 else scores * scale)  # in float32 they are the same tensor
    return pieces


def _parts(logits: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut logits (C, V) and targets (C,), on a CPU, into rows that stay in its cache from pass to pass."""
    rows = len(logits)
    if logits.device.type == "cpu":
        rows = max(1, _PART_BYTES // (4 * logits.shape[1]))
    return zip(logits.split(rows), targets.split(rows), strict=True)


def _softmax_in_place(logits: Tensor) -> Tensor:
    """Turn logits (C, V) into probabilities; returns the log-sum-exp (C,) of what they were.

    The most probable type of a row has exp(max - lse) for its probability, which says what lse was.
    """
    highest = logits.amax(dim=1)
    torch.softmax(logits, dim=1, out=logits)
    return highest - logits.amax(dim=1).log()


def _subtract_target(probabilities: Tensor, targets: Tensor, amount: float) -> None:
    """Subtract from each row's target."""
    targets = targets[:, None]
    probabilities.scatter_(1, targets, probabilities.gather(1, targets) - amount)


def _scale_of(dtype: torch.dtype) -> float:
    """What the gradients are multiplied by while they are in this format."""
    return _HALF_SCALE if dtype is torch.float16 else 1.0


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
