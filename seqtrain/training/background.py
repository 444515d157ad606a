"""Writing checkpoints while training goes on: it waits for a copy in host memory, and a thread does the rest."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from seqtrain.errors import SeqtrainError
from seqtrain.training.checkpoint import CheckpointContent

logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes a checkpoint while the caller waits. With `with`, none is being written any more at the block's end."""

    def write(self, content: CheckpointContent, write: Callable[[CheckpointContent], None]) -> None:
        """Write a checkpoint.

        Args:
            content: What it holds at this moment; the tensors are the model's and the optimizer's own.
            write: Writes it to the disk.

        Raises:
            CheckpointError: It could not be written.
        """
        write(content)

    def check(self) -> None:
        """Raise the error of a write that failed since the last call."""

    def wait(self) -> None:
        """Wait until everything is written, and raise the error if it could not be."""

    def __enter__(self) -> CheckpointWriter:
        """Nothing is being written yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait; where another error ends the block, that of a write is logged."""
        try:
            self.wait()
        except (SeqtrainError, OSError) as failure:
            if error is None:
                raise
            logger.error("%s", failure)


class BackgroundWriter(CheckpointWriter):
    """Writes a checkpoint in a thread, from a copy. There is one at a time: the next one waits for it."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._running: Future[None] | None = None
        self._copies = HostCopies()

    def write(self, content: CheckpointContent, write: Callable[[CheckpointContent], None]) -> None:
        """See `CheckpointWriter`; the error is that of the write before."""
        self.wait()
        copies: Any = {Path(name).stem: self._copies.take(name, tensors) for name, tensors in content.tensors.items()}
        copied = replace(content, state=copy.deepcopy(content.state), **copies)
        arrived = self._copies.arrival()

        def run() -> None:
            arrived()
            write(copied)

        self._running = self._executor.submit(run)

    def check(self) -> None:
        """See `CheckpointWriter`."""
        if self._running is not None and self._running.done():
            self.wait()

    def wait(self) -> None:
        """See `CheckpointWriter`."""
        running, self._running = self._running, None
        if running is not None:
            running.result()


class HostCopies:
    """Copies of tensors in host memory, which is used again for the next copies of the same names.

    Tensors on a GPU are copied to pinned memory without waiting: the GPU copies them in its turn, before what it is
    told to compute next changes them.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}
        self._devices: set[torch.device] = set()

    def take(self, group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copy tensors.

        Args:
            group: Tells names from the same names of other tensors.
            tensors: By name.
        """
        return {name: self._copy(f"{group}/{name}", tensor) for name, tensor in tensors.items()}

    def _copy(self, label: str, tensor: Tensor) -> Tensor:
        is_remote = tensor.device.type == "cuda"
        memory = self._memory.get(label)
        if memory is None or (memory.shape, memory.dtype) != (tensor.shape, tensor.dtype):
            memory = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=is_remote)
            self._memory[label] = memory
        memory.copy_(tensor, non_blocking=is_remote)
        if is_remote:
            self._devices.add(tensor.device)
        return memory

    def arrival(self) -> Callable[[], None]:
        """A function that waits until the copies that were taken so far are in memory."""
        events = [torch.cuda.current_stream(device).record_event() for device in self._devices]

        def wait() -> None:
            for event in events:
                event.synchronize()

        return wait
