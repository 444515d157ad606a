"""Forward and backward pass of a micro-batch, recorded once as a CUDA graph and repeated without the host.

A small batch keeps a GPU busy for less time than the host needs to send all its kernels. Packed batches have one shape,
so that one recording serves all of them; clipping and the optimizer's step, a few large kernels, are sent as ever.
Random numbers follow from the same seeds: torch gives a recording the state of its generator each time.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from seqtrain.criterions.base import LossOutput
from seqtrain.data.batch import Batch
from seqtrain.errors import TrainingError

__all__ = ["PASSES_UNTIL_REPEATED", "CudaTape", "RecordedPass", "Step", "Tape"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Step = Callable[[Batch], LossOutput]
"""Adds the gradient of a micro-batch to those of the parameters."""

_NUM_WARM_UPS = 3  # in which libraries make their choices and take their memory
PASSES_UNTIL_REPEATED = _NUM_WARM_UPS + 2
"""After so many passes all memory is taken that they will ever take."""

_TOLERANCE = 1e-5  # of a loss that the same kernels compute; two batches differ by more


class Tape(ABC):
    """What records and repeats work of a device."""

    @abstractmethod
    def prepare(self, work: Callable[[], T]) -> T:
        """Do some work as it will be recorded."""

    @abstractmethod
    def record(self, work: Callable[[], T]) -> T:
        """Record some work; its results have their values once it is repeated."""

    @abstractmethod
    def repeat(self) -> None:
        """Do what was recorded again: it reads the same tensors, and writes the same ones."""


class CudaTape(Tape):
    """A CUDA graph."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()

    def prepare(self, work: Callable[[], T]) -> T:
        """See `Tape`: on the stream that will record, as CUDA wants it."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], T]) -> T:
        """See `Tape`; the thread that makes batches goes on meanwhile."""
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            return work()

    def repeat(self) -> None:
        """See `Tape`."""
        self._graph.replay()


class RecordedPass:
    """Makes the passes of micro-batches, from the fifth one on by a recording.

    The fourth is made both ways. If the losses differ, because model or criterion read something of a batch that has
    another shape in each, all go on as they are written.
    """

    def __init__(self, module: nn.Module, tape: Tape) -> None:
        """Nothing is recorded yet.

        Args:
            module: Its parameters get the gradients; they stay where they are in memory.
            tape: What records.
        """
        self._module = module
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._tape = tape
        self._sample_size = _SampleSize()
        self._num_passes = 0
        self._is_recorded = False
        self._batch: Batch | None = None  # that the recording reads
        self._output: LossOutput | None = None  # that it writes
        self._gradients: list[Tensor | None] = []  # that it writes
        self._buffers: list[Tensor] = []  # that it reads, also where the module has others later: a table that grew

    def __call__(self, batch: Batch, step: Step) -> LossOutput:
        """Add the gradient of a packed micro-batch to those of the parameters; the host waits in the fourth pass alone.

        Args:
            batch: Like all others in the shapes of its tokens.
            step: Makes the pass as it is written.

        Raises:
            TrainingError: The pass does something that cannot be recorded.
        """
        if self._is_recorded:
            return self._repeat(batch)
        self._num_passes += 1
        if self._num_passes > _NUM_WARM_UPS + 1:
            return step(batch)
        if self._num_passes <= _NUM_WARM_UPS:
            output = self._tape.prepare(lambda: step(batch))
            self._sample_size.learn(batch, output.sample_size)
            self._batch = batch
            return output
        with torch.random.fork_rng(devices=[batch.targets.device] if batch.targets.is_cuda else []):
            output = self._tape.prepare(lambda: step(batch))
        self._record(step)
        self._is_recorded = self._agrees(batch, output)
        if not self._is_recorded:
            self._batch, self._output, self._gradients, self._buffers = None, None, [], []
            logger.warning("training.cuda_graphs: a recorded pass has another loss than the same one as it is written")
        return output

    def _record(self, step: Step) -> None:
        """Record the pass of the batch before, whose tensors are the recording's own from now on."""
        assert self._batch is not None, "of the passes before"
        batch = self._batch = self._batch.map(torch.clone)
        self._buffers = list(self._module.buffers())
        before = self._take_gradients()
        try:
            self._output = self._tape.record(lambda: step(batch))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise TrainingError(
                f"the passes of this model and criterion cannot be recorded: {error}",
                remedy="set training.cuda_graphs=never; what is recorded must not make the host wait, as .item() does",
            ) from error
        self._gradients = self._take_gradients()
        self._give_gradients(before)

    def _agrees(self, batch: Batch, expected: LossOutput) -> bool:
        """Whether the recording has the loss of a pass that was just made; the gradients stay those of that one."""
        before = self._take_gradients()
        output = self._repeat(batch)
        self._give_gradients(before)
        values = [output.loss_sum, *output.logs.values()], [expected.loss_sum, *expected.logs.values()]
        mine, theirs = (torch.stack([value.detach().double() for value in tensors]) for tensors in values)
        is_close = torch.allclose(mine, theirs, rtol=_TOLERANCE, equal_nan=True)
        return is_close and output.sample_size == expected.sample_size

    def _repeat(self, batch: Batch) -> LossOutput:
        """Make a pass by the recording."""
        assert self._batch is not None, "recorded"
        assert self._output is not None, "recorded"
        before = self._apart(self._take_gradients())
        torch._foreach_copy_(list(_tensors_of_one_shape(self._batch)), list(_tensors_of_one_shape(batch)))
        self._tape.repeat()
        self._give_gradients(self._sums(before))
        return replace(
            self._output,
            loss_sum=self._output.loss_sum.detach().clone(),
            sample_size=self._sample_size.of(batch),
            logs={name: value.detach().clone() for name, value in self._output.logs.items()},
        )

    def _apart(self, gradients: list[Tensor | None]) -> list[Tensor | None]:
        """The gradients in memory that the recording does not write."""
        pairs = zip(gradients, self._gradients, strict=True)
        return [old.clone() if old is not None and old is written else old for old, written in pairs]

    def _sums(self, before: list[Tensor | None]) -> list[Tensor | None]:
        """The recording's gradients, added to those that were there before it."""
        pairs = list(zip(before, self._gradients, strict=True))
        both = [(old, new) for old, new in pairs if old is not None and new is not None]
        if both:
            torch._foreach_add_([old for old, _ in both], [new for _, new in both])
        return [new if old is None else old for old, new in pairs]

    def _take_gradients(self) -> list[Tensor | None]:
        gradients = [parameter.grad for parameter in self._parameters]
        self._give_gradients([None] * len(gradients))
        return gradients

    def _give_gradients(self, gradients: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient


class _SampleSize:
    """Which number of a batch a criterion divides by: it is made on the host, which no recording repeats."""

    def __init__(self) -> None:
        self._numbers: list[Callable[[Batch], int]] = [lambda batch: batch.num_tokens, len]

    def learn(self, batch: Batch, sample_size: int) -> None:
        """Drop what a batch contradicts."""
        self._numbers = [number for number in self._numbers if number(batch) == sample_size]

    def of(self, batch: Batch) -> int:
        """The sample size of another batch; -1 if it is none of the numbers that are known."""
        return self._numbers[0](batch) if self._numbers else -1


def _tensors_of_one_shape(batch: Batch) -> Iterator[Tensor]:
    """The tensors that have the same shape in all packed batches."""
    assert batch.source_tokens is not None, "a packed batch has sources"
    yield from (batch.previous_tokens, batch.targets, batch.source_tokens)
    for tokens in (batch.packed_targets, batch.packed_sources):
        assert tokens is not None, "a packed batch has them"
        yield from (tokens.bounds, tokens.columns, tokens.places, tokens.rows, tokens.sequences)
