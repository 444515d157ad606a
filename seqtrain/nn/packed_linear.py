"""Linear layers that are laid out once and then only multiply, as decoding wants them.

Shapes: R rows, K input features, N output features.

On a CPU with AVX-512 oneDNN keeps the weight in the order in which its kernels read it. Weights may also be held as
8-bit integers: y = s_x s_w (q_x q_w') + b, with a scale s_w for each output feature and one s_x for each row, which is
found as the row comes (Jacob et al., 2018, https://arxiv.org/abs/1712.05877), so that no row changes another's result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.nn.products import has_onednn

__all__ = ["PackedLinear", "multiplies_int8", "pack_linear"]

_TYPICAL_ROWS = 256  # oneDNN chooses a layout for so many
_LEAST_INT8_WEIGHTS = 2**18  # quantising the rows costs more than a smaller product saves
_ZERO_POINT = 128  # oneDNN multiplies rows without sign


class PackedLinear(ABC):
    """A product with a weight that is fixed."""

    @abstractmethod
    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """The rows (R, K) times W', plus the bias and the residual (R, N): -> (R, N)."""

    def relu(self, x: Tensor) -> Tensor:
        """max(0, x W' + b), (R, K) -> (R, N)."""
        return functional.relu_(self(x))


def pack_linear(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, int8: bool = False) -> PackedLinear:
    """Lay a weight (N, K) and its bias (N,) out.

    Args:
        weight: Copied.
        bias: Copied; None for none.
        dtype: Of the rows; the product of 8-bit integers is float32.
        int8: Hold the weight as 8-bit integers, if it is large enough for that to pay.
    """
    weight = weight.detach()
    bias = None if bias is None else bias.detach()
    if weight.device.type == "cpu":
        if int8 and weight.numel() >= _LEAST_INT8_WEIGHTS:
            return _Int8Linear(weight.float(), None if bias is None else bias.float())
        if has_onednn():
            return _OneDNNLinear(weight.to(dtype), None if bias is None else bias.to(dtype))
    return _TorchLinear(weight.to(dtype), None if bias is None else bias.to(dtype))


def multiplies_int8() -> bool:
    """Whether the CPU has instructions for products of 8-bit integers, and torch calls oneDNN for them."""
    probe = getattr(torch.cpu, "_is_vnni_supported", None)  # torch has no public name for it up to 2.13
    has_operators = hasattr(torch.ops.onednn, "qlinear_prepack") and hasattr(torch.ops.onednn, "qlinear_pointwise")
    return bool(probe is not None and probe()) and has_operators


class _TorchLinear(PackedLinear):
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = weight.clone()
        self._bias = None if bias is None else bias.clone()

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        product = functional.linear(x, self._weight, self._bias)
        return product if residual is None else product.add_(residual)


class _OneDNNLinear(PackedLinear):
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _TYPICAL_ROWS)
        self._bias = None if bias is None else bias.clone()

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        product: Tensor
        if residual is None:
            product = torch.ops.mkldnn._linear_pointwise.default(x, self._weight, self._bias, "none", [], "")
        else:
            product = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self._weight, self._bias, "add")
        return product

    def relu(self, x: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, self._weight, self._bias, "relu", [], "")
        return product


class _Int8Linear(PackedLinear):
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._scales = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127  # (N,)
        integers = (weight / self._scales[:, None]).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(integers, [_TYPICAL_ROWS, weight.shape[1]])
        self._zero_points = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = None if bias is None else bias.clone()

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        x = x.float()
        scales = x.abs().amax(dim=1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny).div_(127)  # (R, 1)
        rounded = (x / scales).add_(_ZERO_POINT + 0.5).to(torch.uint8)  # cutting off rounds, as all is positive
        product: Tensor = torch.ops.onednn.qlinear_pointwise.default(
            rounded,
            1.0,
            _ZERO_POINT,
            self._weight,
            self._scales,
            self._zero_points,
            None,  # the bias is added after the rows are scaled
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        if self._bias is None:
            product.mul_(scales)
        else:
            torch.addcmul(self._bias, product, scales, out=product)
        return product if residual is None else product.add_(residual)
