"""Compiled matrix products in bfloat16 on a CPU, as functions of tensors; see `native/products.h`.

Shapes: R rows, K input and N output features of a weight (N, K).

oneDNN, which torch calls for such products, wants both factors in bfloat16 and gives such a product, also where float32
is held and wanted. Here weights and rows in float32 are rounded while they are laid out, and a gradient is given in the
format in which it is added up.
"""

from __future__ import annotations

import ctypes
import threading

import torch
from torch import Tensor

from seqtrain.nn.native.call import call

__all__ = ["ProductKernels"]

_LANES = 16  # of a vector in the source
_BLOCK_ROWS = 64  # as in the source
_FORMATS = {torch.float32: "float", torch.bfloat16: "bfloat16"}


class _Product(ctypes.Structure):
    _fields_ = (
        ("num_rows", ctypes.c_int64),
        ("depth", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("has_relu", ctypes.c_int64),
    )


class _ColumnProduct(ctypes.Structure):
    _fields_ = (
        ("num_rows", ctypes.c_int64),
        ("depth", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("adds", ctypes.c_int64),
        ("is_transposed", ctypes.c_int64),
    )


class _Workspace(threading.local):
    """Memory that each thread uses again and again, so that it stays in the cache."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.bfloat16)

    def take(self, size: int) -> Tensor:
        """So many numbers, until the next call."""
        if len(self._memory) < size:
            self._memory = torch.empty(size, dtype=torch.bfloat16)
        return self._memory[:size]


class ProductKernels:
    """The products; tensors are contiguous, weights and rows in float32 or bfloat16."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Use what the library of the training kernels has."""
        self._library = library
        self._workspace = _Workspace()

    @property
    def are_fastest(self) -> bool:
        """Whether this machine has nothing better: it multiplies pairs of bfloat16, and has no AMX for oneDNN."""
        return bool(self._library.multiplies_pairs())

    @staticmethod
    def has_shape(weight: Tensor) -> bool:
        """Whether they know weights of this shape and format."""
        num_outputs, num_inputs = weight.shape
        return num_inputs % (2 * _LANES) == 0 and num_outputs % 2 == 0 and weight.dtype in _FORMATS

    @staticmethod
    def has_bias(bias: Tensor) -> bool:
        """Whether they can add this bias: whole vectors in float32."""
        return len(bias) % _LANES == 0 and bias.dtype is torch.float32

    def pack(self, weight: Tensor, *, lasting: bool = True) -> Tensor:
        """Lay a weight (N, K) out for `input_grad`; unless it is to last, this thread's next call writes over it."""
        num_outputs, num_inputs = weight.shape
        panels = self._panels(num_outputs, num_inputs, lasting)
        sizes = _Product(0, num_outputs, num_inputs, 0)
        call(self._library, f"pack_{_FORMATS[weight.dtype]}", sizes, weight, panels)
        return panels

    def pack_transpose(self, weight: Tensor, *, lasting: bool = True) -> Tensor:
        """Lay a weight (N, K) out for `forward`; unless it is to last, this thread's next call writes over it."""
        num_outputs, num_inputs = weight.shape
        panels = self._panels(num_inputs, num_outputs, lasting)
        sizes = _Product(0, num_inputs, num_outputs, 0)
        call(self._library, f"pack_transpose_{_FORMATS[weight.dtype]}", sizes, weight, panels)
        return panels

    def forward(
        self, x: Tensor, panels: Tensor, num_outputs: int, bias: Tensor | None = None, *, relu: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The product x W' + b, with or without a ReLU behind it.

        Args:
            x: (R, K).
            panels: Of the weight, by `pack_transpose`.
            num_outputs: N.
            bias: (N,) in float32; None for none.
            relu: Whether what is less than 0 becomes 0.

        Returns:
            The product (R, N), and x, both in bfloat16.
        """
        output = x.new_empty(len(x), num_outputs, dtype=torch.bfloat16)
        rounded = x if x.dtype is torch.bfloat16 else torch.empty_like(x, dtype=torch.bfloat16)
        sizes = _Product(*x.shape, num_outputs, relu)
        call(self._library, f"multiply_{_FORMATS[x.dtype]}", sizes, x, panels, bias, rounded, output)
        return output, rounded

    def input_grad(self, grad: Tensor, panels: Tensor, num_inputs: int, dtype: torch.dtype) -> Tensor:
        """The product dy W.

        Args:
            grad: (R, N) in bfloat16.
            panels: Of the weight, by `pack`.
            num_inputs: K.
            dtype: Of the product, (R, K).
        """
        product = grad.new_empty(len(grad), num_inputs, dtype=dtype)
        sizes = _Product(*grad.shape, num_inputs, 0)
        call(self._library, f"multiply_to_{_FORMATS[dtype]}", sizes, grad, panels, product)
        return product

    def linear_grads(
        self, grad: Tensor, output: Tensor | None, panels: Tensor, num_inputs: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What `input_grad` gives and what `TrainingKernels.linear_gradient` does, in one pass.

        Args:
            grad: Of the output, (R, N) in bfloat16, N of whole vectors.
            output: Of a ReLU behind the layer, (R, N); None where there is none.
            panels: Of the weight, by `pack`.
            num_inputs: K.
            dtype: Of the gradient of x.

        Returns:
            The gradient of x (R, K), that of what the ReLU was given (R, N), and the sums of its columns (N,).
        """
        (num_rows, num_outputs), passed = grad.shape, grad if output is None else torch.empty_like(grad)
        product = grad.new_empty(num_rows, num_inputs, dtype=dtype)
        sums, shares = torch.empty(num_outputs), torch.empty(-(-num_rows // _BLOCK_ROWS), num_outputs)
        sizes = _Product(num_rows, num_outputs, num_inputs, 0)
        name = f"linear_input_gradient_{_FORMATS[dtype]}"
        call(self._library, name, sizes, grad, output, passed, panels, sums, shares, product)
        return product, passed, sums

    def weight_grad(self, grad: Tensor, x: Tensor, *, add_to: Tensor | None = None) -> Tensor:
        """The product dy' x.

        Args:
            grad: (R, N) in bfloat16.
            x: (R, K) in bfloat16.
            add_to: What the product is added to, (N, K) in float32; None for nothing.

        Returns:
            The product, or else the sum, (N, K) in float32.
        """
        (num_rows, num_outputs), num_inputs = grad.shape, x.shape[1]
        if num_rows == 0:
            return torch.zeros(num_outputs, num_inputs) if add_to is None else add_to
        product = torch.empty(num_outputs, num_inputs) if add_to is None else add_to
        left, right = grad, x
        is_transposed = num_inputs > num_outputs and num_outputs % _LANES == 0
        if is_transposed:  # what is on the right is written, and read again, once more
            left, right = right, left
        sizes = _ColumnProduct(left.shape[1], num_rows, right.shape[1], add_to is not None, is_transposed)
        right_panels = self._panels(num_rows, right.shape[1], lasting=False)
        call(self._library, "multiply_columns", sizes, left, right, product, right_panels)
        return product

    def _panels(self, depth: int, width: int, lasting: bool) -> Tensor:
        """Memory for a matrix (depth, width) in panels: pairs of rows, whole vectors."""
        size = (depth + depth % 2) * (-(-width // _LANES) * _LANES)
        return torch.empty(size, dtype=torch.bfloat16) if lasting else self._workspace.take(size)
