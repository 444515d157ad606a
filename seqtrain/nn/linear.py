"""Linear layers.

Shapes: R rows, K input features, N output features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seqtrain.nn.compiled_functions import compiled_linear
from seqtrain.nn.own_kernels import uses_own_kernels
from seqtrain.nn.products import has_onednn, onednn_linear

__all__ = ["Linear"]


class Linear(nn.Linear):
    """torch's linear layer, (R, K) -> (R, N), which on a CPU that trains in float32 multiplies by oneDNN.

    See `seqtrain.nn.products`; in bfloat16 there is a compiled kernel for its gradient. Where no gradient is wanted
    torch decides: there the numbers of rows change from call to call, and oneDNN makes a kernel for each.
    """

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """(R, K) -> (R, N), with a ReLU behind it if that is said."""
        compiled = compiled_linear(x, self.weight, self.bias, relu=relu)
        if compiled is not None:
            return compiled
        if self._trains_in_float32(x):
            output: Tensor = _OneDNNLinear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call] # torch's Function.apply has no annotations
        else:
            output = super().forward(x)
        return functional.relu_(output) if relu else output

    def _trains_in_float32(self, x: Tensor) -> bool:
        return (
            uses_own_kernels(x.device)
            and x.dtype is self.weight.dtype is torch.float32
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and has_onednn()
        )


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn_linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output_grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_input, wants_weight, wants_bias = ctx.needs_input_grad
        # oneDNN is fast only with dense operands: the weight is small enough to be turned around, the rows are not.
        return (
            onednn_linear(output_grad, weight.t().contiguous()) if wants_input else None,  # (R, N) -> (R, K)
            torch.mm(output_grad.t(), x) if wants_weight else None,  # (N, K)
            output_grad.sum(dim=0) if wants_bias else None,  # (N,)
        )
