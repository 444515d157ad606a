"""The compiled kernels of training as functions with a gradient.

Shapes: B sequences, R rows (see `Layout`), D features, K input and N output features, S keys with padding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqtrain.nn.attention_shape import AttentionShape
from seqtrain.nn.dropout import draw_dropped
from seqtrain.nn.layout import Layout
from seqtrain.nn.packed_layout import PackedLayout
from seqtrain.nn.products import multiplies_fast, onednn_linear, own_products
from seqtrain.nn.training_kernels import AttentionBounds, TrainingKernels, kernels_in_use

__all__ = ["compiled_attention", "compiled_linear", "compiled_residual_norm"]

_ROUNDED = "_rounded_twin"  # of a norm's result, on which it is kept


def compiled_residual_norm(x: Tensor, output: Tensor, probability: float, norm: nn.LayerNorm) -> Tensor | None:
    """LN(x + dropout(output)) of rows (R, D), by a kernel; None where there is none for them."""
    kernels = kernels_in_use(x.dtype, output.dtype)
    if kernels is None or x.ndim != 2 or not kernels.has_dim(x.shape[1]):
        return None
    if x.dtype is not torch.float32 or norm.weight.dtype is not torch.float32:
        return None
    result: Tensor
    rounded: Tensor | None
    result, rounded = _ResidualNorm.apply(x, output, norm.weight, norm.bias, (kernels, probability, norm.eps))  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
    if rounded is not None:
        setattr(result, _ROUNDED, (rounded, result._version))
    return result


class _ResidualNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        output: Tensor,
        gain: Tensor,
        bias: Tensor,
        settings: tuple[TrainingKernels, float, float],
    ) -> tuple[Tensor, Tensor | None]:
        """See `compiled_residual_norm`; in bfloat16 the result comes a second time, rounded."""
        kernels, probability, epsilon = settings
        dropped = draw_dropped(x.numel(), probability)
        wants_rounded = output.dtype is torch.bfloat16 and any(ctx.needs_input_grad)
        total, result, statistics, rounded = kernels.residual_norm(
            x.contiguous(), output.contiguous(), dropped, (gain, bias, epsilon), wants_rounded=wants_rounded
        )
        ctx.save_for_backward(total, statistics, gain)
        ctx.kernels, ctx.dropped, ctx.dtype = kernels, dropped, output.dtype
        ctx.set_materialize_grads(False)
        return result, rounded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, rounded_grad: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of x, output, gain and bias."""
        total, statistics, gain = ctx.saved_tensors
        kernels: TrainingKernels = ctx.kernels
        grad = torch.zeros_like(total) if grad is None else grad.contiguous()
        rounded_grad = None if rounded_grad is None else rounded_grad.contiguous()
        grads = (grad, rounded_grad)
        gradients = kernels.residual_norm_gradient(grads, (total, statistics), ctx.dropped, gain, ctx.dtype)
        return (*gradients, None)


def _take_rounded(x: Tensor) -> Tensor:
    """The rounded twin of a norm's result, for the first that asks; else what was given.

    It saves the reader a pass over the rows, and the norm's gradient adds up those of both. A second reader gets the
    result itself: the gradients of several would be added up in bfloat16. So does one after a change in place, and one
    whose gradient somebody wants to see, for whom it must be all in one. Who asks for that gradient later, by a hook or
    `torch.autograd.grad`, does not get the part of the reader that took the twin.
    """
    twin: tuple[Tensor, int] | None = getattr(x, _ROUNDED, None)
    if twin is None:
        return x
    delattr(x, _ROUNDED)
    rounded, version = twin
    is_watched = x.retains_grad or bool(x._backward_hooks)
    return x if is_watched or x._version != version else rounded


def compiled_linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool) -> Tensor | None:
    """X W' + b of rows (R, K) -> (R, N) under autocast to bfloat16, with or without a ReLU; None where that is not on.

    Bias and ReLU take no pass over the output, and their gradients one together.
    """
    if not torch.is_autocast_enabled("cpu") or x.device.type != "cpu" or not torch.is_grad_enabled():
        return None
    dtype = torch.get_autocast_dtype("cpu")
    kernels = kernels_in_use(dtype)
    if kernels is None or not multiplies_fast(dtype) or x.ndim != 2 or bias is None:
        return None
    if not kernels.has_dim(len(weight)) or torch.float64 in (x.dtype, weight.dtype):
        return None
    x = _take_rounded(x)
    if own_products(weight, dtype) is not None and kernels.products.has_bias(bias) and kernels.has_format(x.dtype):
        compiled: Tensor = _CompiledLinear.apply(x, weight, bias, relu, kernels)  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
        return compiled
    output: Tensor = _Linear.apply(x, weight, bias, relu, kernels)  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
    return output


class _CompiledLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relu: bool, kernels: TrainingKernels) -> Tensor:
        """See `compiled_linear`."""
        panels = kernels.products.pack_transpose(weight.contiguous(), lasting=False)
        output, rows = kernels.products.forward(x.contiguous(), panels, len(weight), bias, relu=relu)
        ctx.save_for_backward(rows, weight, output if relu else None)
        ctx.kernels, ctx.x_dtype = kernels, x.dtype
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, weight and bias."""
        rows, weight, output = ctx.saved_tensors
        kernels: TrainingKernels = ctx.kernels
        products = kernels.products
        wants_x, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        grad, x_grad, weight_grad = grad.contiguous(), None, None
        if wants_x:
            panels = products.pack(weight.contiguous(), lasting=False)
            x_grad, grad, sums = products.linear_grads(grad, output, panels, rows.shape[1], ctx.x_dtype)
        else:
            grad, sums = kernels.linear_gradient(grad, output)
        if wants_weight:
            weight_grad = products.weight_grad(grad, rows).to(weight.dtype)
        return x_grad, weight_grad, sums if wants_bias else None, None, None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relu: bool, kernels: TrainingKernels) -> Tensor:
        """See `compiled_linear`."""
        rows, matrix = x.to(torch.bfloat16), weight.to(torch.bfloat16)
        output = onednn_linear(rows, matrix, bias.to(torch.bfloat16), activation="relu" if relu else "none")
        ctx.save_for_backward(rows, matrix, output if relu else None)
        ctx.kernels, ctx.dtypes = kernels, (x.dtype, weight.dtype, bias.dtype)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, weight and bias."""
        rows, matrix, output = ctx.saved_tensors
        kernels: TrainingKernels = ctx.kernels
        wants_x, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        x_dtype, weight_dtype, bias_dtype = ctx.dtypes
        grad, sums = kernels.linear_gradient(grad.contiguous(), output)
        return (
            torch.mm(grad, matrix).to(x_dtype) if wants_x else None,  # (R, N) with (N, K) -> (R, K)
            torch.mm(grad.t(), rows).to(weight_dtype) if wants_weight else None,  # (N, R) with (R, K) -> (N, K)
            sums.to(bias_dtype) if wants_bias else None,
            None,
            None,
        )


def compiled_attention(
    query: Tensor, key_value: Tensor | None, bias: Tensor | None, shape: AttentionShape
) -> Tensor | None:
    """See `attend_rows`; None where there is no kernel for these rows."""
    kernels = kernels_in_use(query.dtype)
    if kernels is None or shape.dropout > 0.0 or (key_value is not None and key_value.dtype is not query.dtype):
        return None
    width = query.shape[1] // (3 if key_value is None else 1)
    if not kernels.has_dim(width // shape.num_heads) or (bias is not None and bias.shape[1:3] != (1, 1)):
        return None
    bounds = _bounds(bias, shape)
    output: Tensor = _Attention.apply(query, key_value, bounds, kernels)  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
    return output


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key_value: Tensor | None, bounds: AttentionBounds, kernels: TrainingKernels
    ) -> Tensor:
        """See `compiled_attention`."""
        query, key_value = query.contiguous(), None if key_value is None else key_value.contiguous()
        output, norms = kernels.attend(query, key_value, bounds)
        ctx.save_for_backward(query, key_value, norms)
        ctx.bounds, ctx.kernels = bounds, kernels
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the two rows."""
        query, key_value, norms = ctx.saved_tensors
        kernels: TrainingKernels = ctx.kernels
        return (*kernels.attend_gradient(grad.contiguous(), norms, (query, key_value), ctx.bounds), None, None)


def _bounds(bias: Tensor | None, shape: AttentionShape) -> AttentionBounds:
    """Where the sequences are, and what hides keys; worked out once for all layers of a batch."""
    key = ("attention_bounds", shape.queries is shape.keys, shape.is_causal, shape.num_heads)
    kept = shape.keys.memory.get(key)
    if kept is None or kept[0] is not bias or kept[1] is not shape.queries:
        bounds = AttentionBounds(
            _bounds_of(shape.queries), _bounds_of(shape.keys), shape.num_heads, shape.is_causal, _by_row(bias, shape)
        )
        kept = shape.keys.memory[key] = (bias, shape.queries, bounds)
    result: AttentionBounds = kept[2]
    return result


def _bounds_of(layout: Layout) -> Tensor:
    """The first row of each sequence and the end of the last: (B + 1,) int64."""
    if isinstance(layout, PackedLayout):
        return layout.tokens.bounds.long()
    if layout.positions is None:
        return torch.arange(layout.batch_size + 1) * layout.length
    counts = torch.bincount(layout.positions // layout.length, minlength=layout.batch_size)
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0))


def _by_row(bias: Tensor | None, shape: AttentionShape) -> Tensor | None:
    """A bias (B, 1, 1, S) of the keys in their rows (R,); None where it adds nothing to any."""
    if bias is None:
        return None
    matrix = bias[:, 0, 0].to(torch.float32).expand(shape.keys.batch_size, -1)
    rows = shape.keys.to_rows(matrix).contiguous()
    return rows if bool((rows != 0.0).any()) else None
