"""Compiled kernels of a training update on a CPU, as functions of tensors; see `seqtrain.nn.native`.

torch has an operator for each step, and each goes through memory once: on a CPU that takes half the time of an update
of a small model. These kernels do several steps while a row is in the cache. They are used where a model trains inside
`using`; everywhere else, and for what they cannot do, the operators are.

Shapes: R rows, D features, C rows of logits, V types, H heads, d features of a head.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from seqtrain.nn.native.build import build
from seqtrain.nn.native.call import call
from seqtrain.nn.product_kernels import ProductKernels

__all__ = ["AttentionBounds", "Dropped", "TrainingKernels", "kernels_in_use", "using"]

_FORMATS = {torch.float32: "float", torch.bfloat16: "bfloat16"}
_LANES = 16  # of a vector in the source
_BLOCK_ROWS = 64  # as in the source


class _Loss(ctypes.Structure):
    _fields_ = (
        ("num_rows", ctypes.c_int64),
        ("num_types", ctypes.c_int64),
        ("target_share", ctypes.c_double),
        ("wants_gradient", ctypes.c_int64),
    )


class _ResidualNorm(ctypes.Structure):
    _fields_ = (
        ("num_rows", ctypes.c_int64),
        ("dim", ctypes.c_int64),
        ("threshold", ctypes.c_int64),
        ("scale", ctypes.c_double),
        ("epsilon", ctypes.c_double),
    )


class _Linear(ctypes.Structure):
    _fields_ = (
        ("num_rows", ctypes.c_int64),
        ("dim", ctypes.c_int64),
    )


class _Attention(ctypes.Structure):
    _fields_ = (
        ("num_sequences", ctypes.c_int64),
        ("num_heads", ctypes.c_int64),
        ("dim", ctypes.c_int64),
        ("query_stride", ctypes.c_int64),
        ("key_stride", ctypes.c_int64),
        ("is_causal", ctypes.c_int64),
        ("scale", ctypes.c_double),
    )


@dataclass(frozen=True)
class Dropped:
    """What a dropout drops.

    Attributes:
        bits: (R * D,) int16 or more of them, uniform; None where nothing is dropped.
        threshold: An element is kept if its bits are at least this.
        scale: What is kept is multiplied by it.
    """

    bits: Tensor | None = None
    threshold: int = 0
    scale: float = 1.0


@dataclass(frozen=True)
class AttentionBounds:
    """Which rows belong to which sequence.

    Attributes:
        queries: (B + 1,) int64, the first row of each sequence and the end of the last.
        keys: The same for keys and values.
        num_heads: H.
        is_causal: A query sees the keys up to its own place.
        bias: (R',) float32, added to all scores of a key; None adds nothing.
    """

    queries: Tensor
    keys: Tensor
    num_heads: int
    is_causal: bool
    bias: Tensor | None = None


class TrainingKernels:
    """The kernels; rows are in float32 or bfloat16, and contiguous.

    Attributes:
        products: Matrix products in bfloat16.
    """

    def __init__(self) -> None:
        """Compile them, which takes some seconds.

        Raises:
            CompilerError: There is no C++ compiler, or it fails.
        """
        self._library = build("training.cpp")
        self.products = ProductKernels(self._library)

    @staticmethod
    def has_format(dtype: torch.dtype) -> bool:
        """Whether they know this number format."""
        return dtype in _FORMATS

    @staticmethod
    def has_dim(dim: int) -> bool:
        """Whether they know rows, or heads, of so many features: whole vectors."""
        return dim % _LANES == 0

    def softmax_gradient(
        self, logits: Tensor, targets: Tensor, *, target_share: float, wants_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        """The log-sum-exp of logits (C, V), and each row's logit of its target: (C,) and (C,), in float32.

        Where it is wanted, the logits become their probabilities, less the target's share at the target.
        """
        norms, target_logits = torch.empty(2, len(logits))
        sizes = _Loss(*logits.shape, target_share, wants_gradient)
        self._call("softmax_gradient", logits.dtype, sizes, logits, targets, norms, target_logits)
        return norms, target_logits

    def draw_bits(self, seed: int, num_draws: int) -> Tensor:
        """Random bits (num_draws,) int64, the number of which is a multiple of 8; see `seqtrain.nn.dropout`."""
        bits = torch.empty(num_draws, dtype=torch.int64)
        call(self._library, "draw_random_bits", ctypes.c_uint64(seed), ctypes.c_int64(num_draws), bits)
        return bits

    def residual_norm(
        self,
        x: Tensor,
        output: Tensor,
        dropped: Dropped,
        norm: tuple[Tensor, Tensor, float],
        *,
        wants_rounded: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """LN(x + dropout(output)) of rows (R, D), x in float32.

        Args:
            x: The residual stream.
            output: Of the sublayer.
            dropped: What dropout drops of it.
            norm: Gain (D,), bias (D,) and epsilon.
            wants_rounded: Whether the result is wanted in the format of the output, too.

        Returns:
            The sum and what it is normalised to, (R, D); of each row the mean and the inverse deviation, (R, 2); and
            the result in the format of the output, if it is wanted.
        """
        gain, bias, epsilon = norm
        total, result, statistics = torch.empty_like(x), torch.empty_like(x), torch.empty(len(x), 2)
        rounded = torch.empty_like(output) if wants_rounded else None
        sizes = _ResidualNorm(*x.shape, dropped.threshold, dropped.scale, epsilon)
        written = (total, result, rounded, statistics)
        self._call("residual_norm", output.dtype, sizes, x, output, dropped.bits, gain, bias, *written)
        return total, result, statistics, rounded

    def residual_norm_gradient(
        self,
        grads: tuple[Tensor, Tensor | None],
        saved: tuple[Tensor, Tensor],
        dropped: Dropped,
        gain: Tensor,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gradients of x, of the output in its format, of gain and bias.

        Args:
            grads: Of the result, (R, D) float32, and of the rounded one in its format if it was used.
            saved: The sum and the statistics.
            dropped: As it was.
            gain: (D,).
            dtype: Of the output.
        """
        total, statistics = saved
        x_grad, output_grad = torch.empty_like(total), torch.empty_like(total, dtype=dtype)
        gain_grad, bias_grad = torch.empty(2, total.shape[1])
        shares = torch.empty(-(-len(total) // _BLOCK_ROWS), 2, total.shape[1])
        sizes = _ResidualNorm(*total.shape, dropped.threshold, dropped.scale, 0.0)
        read = (*grads, total, statistics, dropped.bits, gain)
        written = (x_grad, output_grad, gain_grad, bias_grad)
        self._call("residual_norm_gradient", dtype, sizes, *read, *written, shares)
        return written

    def linear_gradient(self, grad: Tensor, output: Tensor | None) -> tuple[Tensor, Tensor]:
        """What a linear layer's gradients follow from.

        Args:
            grad: Of the output, (R, D).
            output: Of a ReLU behind the layer, (R, D); None where there is none.

        Returns:
            The gradient of what the ReLU was given (R, D), and the sums of its columns (D,) in float32.
        """
        passed = grad if output is None else torch.empty_like(grad)
        sums, shares = torch.empty(grad.shape[1]), torch.empty(-(-len(grad) // _BLOCK_ROWS), grad.shape[1])
        self._call("linear_gradient", grad.dtype, _Linear(*grad.shape), grad, output, passed, sums, shares)
        return passed, sums

    def attend(self, query: Tensor, key_value: Tensor | None, bounds: AttentionBounds) -> tuple[Tensor, Tensor]:
        """softmax(q k' / sqrt(d) + bias) v within each sequence.

        Args:
            query: (R, H * d), or queries, keys and values side by side (R, 3 * H * d).
            key_value: Keys and values side by side (R', 2 * H * d); None for the latter.
            bounds: Of the sequences.

        Returns:
            Rows (R, H * d), and the log-sum-exp of the scores (R, H). Rows of no sequence are zeros.
        """
        sizes, pointers = _parts(query, key_value, bounds)
        output = query.new_empty(len(query), sizes.num_heads * sizes.dim)
        output[int(bounds.queries[-1]) :] = 0.0
        norms = torch.empty(len(query), sizes.num_heads)
        read = (sizes, *pointers, bounds.queries, bounds.keys, bounds.bias)
        self._call("attend", query.dtype, *read, output, norms)
        return output, norms

    def attend_gradient(
        self, grad: Tensor, norms: Tensor, rows: tuple[Tensor, Tensor | None], bounds: AttentionBounds
    ) -> tuple[Tensor, Tensor | None]:
        """The gradients of the two rows that `attend` was given, from those of its output; contiguous."""
        query, key_value = rows
        sizes, pointers = _parts(query, key_value, bounds)
        query_grad = torch.empty_like(query)
        query_grad[int(bounds.queries[-1]) :] = 0.0
        key_value_grad = None if key_value is None else torch.empty_like(key_value)
        if key_value_grad is not None:
            key_value_grad[int(bounds.keys[-1]) :] = 0.0
        _, grad_pointers = _parts(query_grad, key_value_grad, bounds)
        read = (sizes, *pointers, bounds.queries, bounds.keys, bounds.bias, norms, grad)
        self._call("attend_gradient", query.dtype, *read, *grad_pointers)
        return query_grad, key_value_grad

    def _call(self, name: str, dtype: torch.dtype, *arguments: object) -> None:
        call(self._library, f"{name}_{_FORMATS[dtype]}", *arguments)


def _parts(
    query: Tensor, key_value: Tensor | None, bounds: AttentionBounds
) -> tuple[_Attention, tuple[ctypes.c_void_p, ...]]:
    """The sizes, and where queries, keys and values begin."""
    keys, num_blocks = (query, 3) if key_value is None else (key_value, 2)
    width = keys.shape[1] // num_blocks
    dim = width // bounds.num_heads
    sizes = _Attention(
        len(bounds.queries) - 1, bounds.num_heads, dim, query.shape[1], keys.shape[1], bounds.is_causal, dim**-0.5
    )
    assert query.is_contiguous(), "rows follow one another"
    assert keys.is_contiguous(), "rows follow one another"
    start, block_bytes = keys.data_ptr(), width * keys.element_size()
    first = start + (num_blocks - 2) * block_bytes
    return sizes, tuple(map(ctypes.c_void_p, (query.data_ptr(), first, first + block_bytes)))


_IN_USE: ContextVar[TrainingKernels | None] = ContextVar("training kernels", default=None)


@contextmanager
def using(kernels: TrainingKernels | None) -> Iterator[None]:
    """In here, models train with these kernels, or without any."""
    token = _IN_USE.set(kernels)
    try:
        yield
    finally:
        _IN_USE.reset(token)


def kernels_in_use(*dtypes: torch.dtype) -> TrainingKernels | None:
    """The kernels, where there are some for all of these number formats."""
    kernels = None if torch.compiler.is_compiling() else _IN_USE.get()
    return kernels if kernels is not None and all(map(kernels.has_format, dtypes)) else None
