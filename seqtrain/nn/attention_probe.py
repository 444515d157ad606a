"""Which backend computes the attention of packed batches fastest, measured on one of them.

Shapes: R rows, D features.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqtrain.config.sections import AttentionBackend
from seqtrain.nn.attention_backends import attend_rows
from seqtrain.nn.attention_shape import AttentionShape, AttentionSize
from seqtrain.nn.layout import Layout

__all__ = ["AttentionProblem", "measure_backends"]

Inputs = tuple[tuple[Tensor, ...], ...]

_NUM_WARM_UPS = 3  # the first calls choose and load kernels
_NUM_RUNS = 10


@dataclass(frozen=True)
class AttentionProblem:
    """The attention of an encoder layer and a decoder layer over one batch.

    Attributes:
        make_layouts: The layouts of sources and targets, and what hides the padding of the sources. They are made anew
            each time: what is worked out for them is part of the cost, once for `num_layers` layers.
        size: Of the attention.
        num_layers: Layers of encoder and decoder.
        dtype: The number format.
        device: Where it is computed.
    """

    make_layouts: Callable[[], tuple[Layout, Layout, Tensor | None]]
    size: AttentionSize
    num_layers: int
    dtype: torch.dtype
    device: torch.device

    def inputs(self) -> Inputs:
        """Random numbers for the three attentions of a layer."""
        source, target, _ = self.make_layouts()
        return (
            (self._rows(source, 3),),
            (self._rows(target, 3),),
            (self._rows(target, 1), self._rows(source, 2)),
        )

    def run(self, backend: AttentionBackend, inputs: Inputs) -> None:
        """Compute all layers, forward and backward."""
        source, target, bias = self.make_layouts()
        size = self.size
        shapes = (
            AttentionShape(size.num_heads, source, source, dropout=size.dropout, backend=backend),
            AttentionShape(size.num_heads, target, target, is_causal=True, dropout=size.dropout, backend=backend),
            AttentionShape(size.num_heads, target, source, dropout=size.dropout, backend=backend),
        )
        for _ in range(self.num_layers):
            for shape, (query, *rest) in zip(shapes, inputs, strict=True):
                output = attend_rows(query, rest[0] if rest else None, None if shape.is_causal else bias, shape)
                torch.autograd.grad(output, (query, *rest), output.detach())

    def _rows(self, layout: Layout, num_blocks: int) -> Tensor:
        """(R, num_blocks * D) that wants a gradient."""
        width = num_blocks * self.size.num_heads * self.size.head_dim
        return torch.randn(layout.num_rows, width, dtype=self.dtype, device=self.device, requires_grad=True)

    def seconds(self, backend: AttentionBackend) -> float:
        """The median time of a run."""
        inputs = self.inputs()
        for _ in range(_NUM_WARM_UPS):
            self.run(backend, inputs)
        return statistics.median(_seconds(lambda: self.run(backend, inputs), self.device) for _ in range(_NUM_RUNS))


def measure_backends(
    candidates: Sequence[AttentionBackend], problem: AttentionProblem
) -> Mapping[AttentionBackend, float]:
    """The seconds that each of some backends takes, the fastest first."""
    seconds = {backend: problem.seconds(backend) for backend in candidates}
    return dict(sorted(seconds.items(), key=lambda pair: pair[1]))


def _seconds(computation: Callable[[], None], device: torch.device) -> float:
    """How long a computation takes, from a device that has nothing to do to one that has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    computation()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
