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

    def run(self, backend: AttentionBackend) -> None:
        """Compute all layers, forward and backward, on random numbers."""
        source, target, bias = self.make_layouts()
        for _ in range(self.num_layers):
            for queries, keys, is_causal in ((source, source, False), (target, target, True), (target, source, False)):
                shape = AttentionShape(self.size.num_heads, queries, keys, is_causal, self.size.dropout, backend)
                query = self._rows(queries, 3 if keys is queries else 1)
                key_value = None if keys is queries else self._rows(keys, 2)
                output = attend_rows(query, key_value, None if is_causal else bias, shape)
                output.sum().backward()

    def _rows(self, layout: Layout, num_blocks: int) -> Tensor:
        """(R, num_blocks * D) that wants a gradient."""
        width = num_blocks * self.size.num_heads * self.size.head_dim
        return torch.randn(layout.num_rows, width, dtype=self.dtype, device=self.device, requires_grad=True)

    def seconds(self, backend: AttentionBackend) -> float:
        """The median time of a run."""
        for _ in range(_NUM_WARM_UPS):
            self.run(backend)
        return statistics.median(_seconds(lambda: self.run(backend), self.device) for _ in range(_NUM_RUNS))


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
