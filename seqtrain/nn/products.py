"""The three matrix products of a linear layer without bias, and who computes them.

Shapes: N rows, D input features, V output features.

A forward and a backward pass take y = x W', dx = dy W and dW = dy' x. On CPUs with AVX-512, oneDNN multiplies float32
matrices up to one and a half times as fast as the library that torch calls by itself (MKL, on processors that are not
Intel's), so it is asked directly. In bfloat16 there are compiled kernels, see `seqtrain.nn.product_kernels`. Everywhere
else torch decides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import torch
from torch import Tensor

from seqtrain.nn.product_kernels import ProductKernels
from seqtrain.nn.training_kernels import kernels_in_use

__all__ = ["Products", "has_onednn", "make_products", "multiplies_fast", "onednn_linear", "own_products"]


class Products(ABC):
    """The products with one weight (V, D), held in the format of the products."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The product x W': (N, D) -> (N, V)."""

    @abstractmethod
    def input_grad(self, y_grad: Tensor) -> Tensor:
        """Dy W: (N, V) -> (N, D)."""

    @abstractmethod
    def add_weight_grad(self, y_grad: Tensor, x: Tensor) -> None:
        """Add dy' x, from (N, V) and (N, D), to the weight's gradient."""

    @abstractmethod
    def weight_grad(self) -> Tensor:
        """The weight's gradient so far: (V, D), in float32 at least."""


def make_products(weight: Tensor, dtype: torch.dtype, *, wants_input_grad: bool) -> Products:
    """The fastest way to multiply with a weight (V, D) in a number format."""
    kernels = own_products(weight, dtype)
    if kernels is not None:
        return _CompiledProducts(weight.contiguous(), kernels)
    if weight.device.type == "cpu" and dtype is torch.float32 and weight.dtype is dtype and has_onednn():
        return _OneDNNProducts(weight, wants_input_grad)
    return _TorchProducts(weight.to(dtype))


class _TorchProducts(Products):
    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._weight_grad: Tensor | None = None  # (V, D)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mm(x, self._weight.t())

    def input_grad(self, y_grad: Tensor) -> Tensor:
        return torch.mm(y_grad, self._weight)

    def add_weight_grad(self, y_grad: Tensor, x: Tensor) -> None:
        if x.dtype is torch.float16:  # sums over many rows overflow its range
            product = _float32_product(y_grad.t(), x)
            self._weight_grad = product if self._weight_grad is None else self._weight_grad.add_(product)
        elif self._weight_grad is None:
            self._weight_grad = torch.mm(y_grad.t(), x).to(torch.promote_types(x.dtype, torch.float32))
        elif self._weight_grad.dtype is x.dtype:
            self._weight_grad.addmm_(y_grad.t(), x)
        else:
            self._weight_grad.add_(torch.mm(y_grad.t(), x))

    def weight_grad(self) -> Tensor:
        assert self._weight_grad is not None, "something was added"
        return self._weight_grad


def _float32_product(a: Tensor, b: Tensor) -> Tensor:
    """The product a b of float16 matrices (V, N) and (N, D), in float32."""
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=torch.float32)
    return torch.mm(a.float(), b.float())


class _OneDNNProducts(Products):
    def __init__(self, weight: Tensor, wants_input_grad: bool) -> None:
        self._weight = weight
        self._transposed = weight.t().contiguous() if wants_input_grad else None  # (D, V)
        self._weight_grad: Tensor | None = None  # (D, V), turned around at the end: sums of one layout are faster

    def forward(self, x: Tensor) -> Tensor:
        return onednn_linear(x, self._weight)

    def input_grad(self, y_grad: Tensor) -> Tensor:
        assert self._transposed is not None, "said when it was made"
        return onednn_linear(y_grad, self._transposed)

    def add_weight_grad(self, y_grad: Tensor, x: Tensor) -> None:
        product = onednn_linear(x.t(), y_grad.t())  # (D, N) with (V, N) -> (D, V)
        self._weight_grad = product if self._weight_grad is None else self._weight_grad.add_(product)

    def weight_grad(self) -> Tensor:
        assert self._weight_grad is not None, "something was added"
        return self._weight_grad.t().contiguous()


class _CompiledProducts(Products):
    def __init__(self, weight: Tensor, kernels: ProductKernels) -> None:
        self._weight = weight
        self._kernels = kernels
        self._transposed_panels = kernels.pack_transpose(weight)
        self._panels: Tensor | None = None
        self._weight_grad: Tensor | None = None  # (V, D)

    def forward(self, x: Tensor) -> Tensor:
        return self._kernels.forward(x, self._transposed_panels, len(self._weight))[0]

    def input_grad(self, y_grad: Tensor) -> Tensor:
        if self._panels is None:
            self._panels = self._kernels.pack(self._weight)
        return self._kernels.input_grad(y_grad, self._panels, self._weight.shape[1], torch.float32)

    def add_weight_grad(self, y_grad: Tensor, x: Tensor) -> None:
        self._weight_grad = self._kernels.weight_grad(y_grad, x, add_to=self._weight_grad)

    def weight_grad(self) -> Tensor:
        assert self._weight_grad is not None, "something was added"
        return self._weight_grad


def own_products(weight: Tensor, dtype: torch.dtype) -> ProductKernels | None:
    """The compiled products with a weight (V, D) in a number format; None where there are none, or better ones."""
    kernels = kernels_in_use(dtype) if dtype is torch.bfloat16 else None
    is_known = kernels is not None and weight.device.type == "cpu" and kernels.products.has_shape(weight)
    return kernels.products if kernels is not None and is_known and kernels.products.are_fastest else None


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str = "none") -> Tensor:
    """The product x W' + b, (N, D) with (V, D) -> (N, V), by what torch.compile calls for linear layers on the CPU.

    Args:
        x: (N, D).
        weight: (V, D).
        bias: (V,); None for none.
        activation: What follows inside of it: "relu" or "none".
    """
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], "")
    return product


@cache
def multiplies_fast(dtype: torch.dtype) -> bool:
    """Whether small CPU matrices are multiplied faster in this format than in float32: bfloat16, with instructions."""
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # torch has no public name for them up to 2.13
    return dtype is torch.bfloat16 and has_onednn() and any(getattr(torch.cpu, name, bool)() for name in probes)


@cache
def has_onednn() -> bool:
    """Whether oneDNN is there, and has AVX-512 to use. A property of the machine, so that results repeat on it."""
    is_available = bool(torch.backends.mkldnn.is_available())
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return is_available and has_avx512 and hasattr(torch.ops.mkldnn, "_linear_pointwise")
