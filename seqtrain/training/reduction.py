"""How the gradients of micro-batches, and of processes, become the gradient of one update: their sum.

Dividing by the sample size comes later, for a process does not know the others' while it computes.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from seqtrain.data.batch import Batch
from seqtrain.training.distributed import Processes, collective
from seqtrain.training.stopwatch import Phase, Stopwatch

__all__ = ["AfterBackward", "DataParallel", "ExactSum", "GradientReduction", "LocalSum", "PairwiseSum"]

_BUCKET_NUMBERS = 2**24  # of one all-reduce: large enough to fill a network, small enough to be a copy that fits


class GradientReduction(ABC):
    """Adds gradients up.

    Attributes:
        module: What a training step's forward pass goes through.
        stopwatch: Is told when only the traffic is left to wait for.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.stopwatch = Stopwatch()

    @abstractmethod
    def micro_batch(self, batch: Batch, *, is_last: bool) -> AbstractContextManager[None]:
        """Around one micro-batch's forward and backward; gradients travel between processes with the last one only."""

    def finish(self) -> None:  # noqa: B027 - there is nothing to do where the sum was made on the way
        """After the last micro-batch: from here on, every process has the sum."""


class LocalSum(GradientReduction):
    """One process alone: autograd adds up."""

    def micro_batch(self, batch: Batch, *, is_last: bool) -> AbstractContextManager[None]:
        """See `GradientReduction`."""
        return nullcontext()


class DataParallel(GradientReduction):
    """PyTorch's DistributedDataParallel: gradients travel while the backward pass still computes others (Li et al.,
    2020, https://arxiv.org/abs/2006.15704).

    The one backward pass of a micro-batch must be that of one forward pass. A task with steps of its own takes
    `AfterBackward`.
    """  # noqa: D205

    def __init__(self, module: nn.Module, *, find_unused_parameters: bool) -> None:
        with warnings.catch_warnings():  # torch 2.13 has a new name for broadcast_buffers, which 2.11 does not know
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = DistributedDataParallel(
                module,
                device_ids=_device_ids(module),
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
                find_unused_parameters=find_unused_parameters,
            )
        wrapped.register_comm_hook(None, lambda _, bucket: self._sum_bucket(bucket))
        super().__init__(wrapped)
        self._wrapped = wrapped

    def micro_batch(self, batch: Batch, *, is_last: bool) -> AbstractContextManager[None]:
        """See `GradientReduction`."""
        return collective() if is_last else _without_traffic(self._wrapped)

    def _sum_bucket(self, bucket: Any) -> torch.futures.Future[Tensor]:
        """DistributedDataParallel's own hook divides by the number of processes; we divide by the sample size."""
        work = distributed.all_reduce(bucket.buffer(), async_op=True)
        assert work is not None
        if bucket.is_last():  # the gradients of the first layers: nothing is left to compute
            self.stopwatch.enter(Phase.communication)
        future: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
        return future


def _device_ids(module: nn.Module) -> list[torch.device] | None:
    device = next(module.parameters()).device
    return [device] if device.type == "cuda" else None


@contextmanager
def _without_traffic(wrapped: DistributedDataParallel) -> Iterator[None]:
    with wrapped.no_sync():
        yield


class AfterBackward(GradientReduction):
    """Gradients travel after the last micro-batch's backward pass, however many passes a task's step makes."""

    def micro_batch(self, batch: Batch, *, is_last: bool) -> AbstractContextManager[None]:
        """See `GradientReduction`."""
        return nullcontext()

    def finish(self) -> None:
        """See `GradientReduction`."""
        parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        used = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32)
        used = used.to(parameters[0].device)
        with collective():
            distributed.all_reduce(used)
            for bucket in _buckets([parameter for parameter, count in zip(parameters, used, strict=True) if count]):
                flat = flatten_gradients(bucket)
                distributed.all_reduce(flat)
                set_gradients(bucket, flat)


def _buckets(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        bucket.append(parameter)
        if sum(member.numel() for member in bucket) >= _BUCKET_NUMBERS:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


class ExactSum(GradientReduction):
    """Adds the gradients of micro-batches in pairs, by their global number.

    The result does not depend on which process computed which micro-batch: 1, 2 or 3 processes end in the same bits on
    the CPU. Every process sends the gradient of every micro-batch, and adds all of them.
    """

    def __init__(self, module: nn.Module, processes: Processes) -> None:
        super().__init__(module)
        self._processes = processes
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._sum = PairwiseSum()

    @contextmanager
    def micro_batch(self, batch: Batch, *, is_last: bool) -> Iterator[None]:
        """See `GradientReduction`."""
        yield
        counts = not batch.is_filler
        flags = [float(counts and parameter.grad is not None) for parameter in self._parameters]
        gradient = flatten_gradients(self._parameters)
        row = torch.cat([gradient, torch.tensor(flags, dtype=gradient.dtype, device=gradient.device)])
        for other in self._processes.gather_tensor(row):
            if other[-len(flags) :].any():  # nothing of a filler is used
                self._sum.add(other)
        for parameter in self._parameters:
            parameter.grad = None

    def finish(self) -> None:
        """See `GradientReduction`."""
        total = self._sum.take()
        num_parameters = len(self._parameters)
        set_gradients(self._parameters, total[:-num_parameters])
        for parameter, flag in zip(self._parameters, total[-num_parameters:].tolist(), strict=True):
            if not flag:
                parameter.grad = None


class PairwiseSum:
    """Adds tensors one by one in the order of a binary tree: ((a + b) + (c + d)) + ((e + f) + g) ...

    Only one tensor for each level of the tree is kept. Besides being the same for any division of the row, the rounding
    errors grow with the logarithm of the number of tensors alone (Higham, 1993).
    """

    def __init__(self) -> None:
        self._partial: list[tuple[int, Tensor]] = []  # sums of 2**level tensors, the levels descending

    def add(self, tensor: Tensor) -> None:
        """Add the next tensor of the row."""
        level = 0
        while self._partial and self._partial[-1][0] == level:
            tensor = self._partial.pop()[1] + tensor
            level += 1
        self._partial.append((level, tensor))

    def take(self) -> Tensor:
        """The sum of all, which are forgotten then."""
        *rest, (_, total) = self._partial
        for _, tensor in reversed(rest):
            total = tensor + total
        self._partial = []
        return total


def flatten_gradients(parameters: list[nn.Parameter]) -> Tensor:
    """The gradients in a row; zeros for a parameter that has none."""
    return torch.cat(
        [
            (parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)).reshape(-1)
            for parameter in parameters
        ]
    )


def set_gradients(parameters: list[nn.Parameter], flat: Tensor) -> None:
    """Give parameters the gradients that stand in a row."""
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, part in zip(parameters, torch.split(flat, sizes), strict=True):
        parameter.grad = part.view_as(parameter)
