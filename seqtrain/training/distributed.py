"""The processes that train together. One process alone is the null case of the same interface.

What the processes tell each other here is a few numbers and JSON, over gloo between the hosts: no GPU has to wait for
it. Gradients travel elsewhere, see `seqtrain.training.reduction`. Every method is called by all processes at the same
point, or by none.
"""

from __future__ import annotations

import copy
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from seqtrain.config.ranks import Rank
from seqtrain.config.root import DistributedConfig
from seqtrain.errors import TrainingError

__all__ = ["ProcessGroup", "Processes", "SingleProcess", "collective", "join_processes", "require_same", "sum_by_name"]

T = TypeVar("T")

_STARTUP = timedelta(days=1)  # the first process may have a large text to tokenize
_STEP_SECONDS = 0.05


class Processes(ABC):
    """The processes of a run.

    Attributes:
        rank: The number of this one.
        world_size: How many there are.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank = rank
        self.world_size = world_size

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    @abstractmethod
    def sum(self, numbers: Sequence[float]) -> list[float]:
        """The sum of each number over the processes, in float64."""

    @abstractmethod
    def max(self, numbers: Sequence[float]) -> list[float]:
        """The largest of each number over the processes."""

    @abstractmethod
    def gather(self, value: Any) -> list[Any]:
        """The JSON value of each process, in the order of their ranks."""

    @abstractmethod
    def gather_tensor(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of each process, all of one shape, on its device."""

    @abstractmethod
    def first_then_others(self, function: Callable[[], T]) -> T:
        """Call a function in the first process, and when it has returned, in the others."""

    @abstractmethod
    def for_thread(self) -> Processes:
        """The same processes over connections of their own, for threads that talk while these processes do, too."""

    @abstractmethod
    def close(self) -> None:
        """Wait for the others, and part from them."""

    def from_first(self, value: Any) -> Any:
        """The first process's JSON value."""
        return self.gather(value if self.is_first else None)[0]

    def any(self, condition: bool) -> bool:
        """Whether a condition holds in any process."""
        return self.max([float(condition)]) == [1.0]


class SingleProcess(Processes):
    """One process alone, whose sums are its own."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """See `Processes`."""
        return list(numbers)

    def max(self, numbers: Sequence[float]) -> list[float]:
        """See `Processes`."""
        return list(numbers)

    def gather(self, value: Any) -> list[Any]:
        """See `Processes`."""
        return [value]

    def gather_tensor(self, tensor: Tensor) -> list[Tensor]:
        """See `Processes`."""
        return [tensor]

    def first_then_others(self, function: Callable[[], T]) -> T:
        """See `Processes`."""
        return function()

    def for_thread(self) -> Processes:
        """See `Processes`."""
        return self

    def close(self) -> None:
        """See `Processes`."""


class ProcessGroup(Processes):
    """Several processes, as torchrun starts them."""

    def __init__(self, rank: Rank, config: DistributedConfig, device: torch.device) -> None:
        """Find the other processes.

        Args:
            rank: Which one this is.
            config: The backend of the gradients, and how long a process may keep the others waiting.
            device: Of the gradients.
        """
        super().__init__(rank.rank, rank.world_size)
        timeout = self._timeout = timedelta(seconds=config.timeout_seconds)
        backend = config.backend or ("nccl" if device.type == "cuda" else "gloo")
        store, _, _ = next(rendezvous("env://", rank.rank, rank.world_size, timeout=_STARTUP))
        self._store = PrefixStore("seqtrain", store)
        self._store.set(f"here {rank.rank}", "")
        self._wait([f"here {other}" for other in range(rank.world_size)])
        distributed.init_process_group(
            backend,
            store=PrefixStore("groups", store),
            rank=rank.rank,
            world_size=rank.world_size,
            timeout=timeout,
            device_id=device if backend == "nccl" else None,
        )
        self._hosts = distributed.new_group(backend="gloo", timeout=timeout)
        self._num_waits = 0

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """See `Processes`."""
        return self._reduce(numbers, distributed.ReduceOp.SUM)

    def max(self, numbers: Sequence[float]) -> list[float]:
        """See `Processes`."""
        return self._reduce(numbers, distributed.ReduceOp.MAX)

    def _reduce(self, numbers: Sequence[float], operation: Any) -> list[float]:
        tensor = torch.tensor(numbers, dtype=torch.float64)
        with collective():
            distributed.all_reduce(tensor, operation, group=self._hosts)
        result: list[float] = tensor.tolist()
        return result

    def gather(self, value: Any) -> list[Any]:
        """See `Processes`."""
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [int(size) for size in self._one_hot_sum(len(text))]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(text)] = text
        rows = [torch.empty_like(padded) for _ in sizes]
        with collective():
            distributed.all_gather(rows, padded, group=self._hosts)
        return [json.loads(bytes(row[:size].tolist())) for row, size in zip(rows, sizes, strict=True)]

    def _one_hot_sum(self, number: float) -> list[float]:
        """The number of each process."""
        return self.sum([number if rank == self.rank else 0.0 for rank in range(self.world_size)])

    def gather_tensor(self, tensor: Tensor) -> list[Tensor]:
        """See `Processes`."""
        rows = [torch.empty_like(tensor) for _ in range(self.world_size)]
        with collective():
            distributed.all_gather(rows, tensor)
        return rows

    def first_then_others(self, function: Callable[[], T]) -> T:
        """See `Processes`; the others wait without the limit that a collective call has."""
        self._num_waits += 1
        key = f"first {self._num_waits}"
        if self.is_first:
            result = function()
            self._store.set(key, "")
            return result
        self._wait([key])
        return function()

    def _wait(self, keys: list[str]) -> None:
        """Wait until others have set keys, in steps that let a signal through, as torch's own waiting does not."""
        with collective():
            while not self._store.check(keys):
                time.sleep(_STEP_SECONDS)

    def for_thread(self) -> Processes:
        """See `Processes`; for sums and values, not for tensors."""
        other = copy.copy(self)
        other._hosts = distributed.new_group(backend="gloo", timeout=self._timeout)
        return other

    def close(self) -> None:
        """See `Processes`; the others may still be writing."""
        with collective():
            distributed.barrier(group=self._hosts)
        distributed.destroy_process_group()


@contextmanager
def collective() -> Iterator[None]:
    """Around what processes do together: if that fails, another one has ended, and has said why itself.

    Other errors pass: gradients travel while a model of somebody's computes.

    Raises:
        TrainingError: The others cannot be reached any more.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):  # which has no class of its own
            raise
        raise TrainingError(
            "another process of this run ended, or did not answer in time",
            remedy="see what that process says; the same command goes on from the last checkpoint",
        ) from error


def join_processes(rank: Rank, config: DistributedConfig, device: torch.device) -> Processes:
    """The processes that this one trains with."""
    return SingleProcess() if rank.world_size == 1 else ProcessGroup(rank, config, device)


def require_same(processes: Processes, facts: Mapping[str, str]) -> None:
    """Compare what must be the same in all processes, before they wait for one another in vain.

    Args:
        processes: All of them.
        facts: A digest of each fact, by what it is called in the message: "vocabulary", "training data".

    Raises:
        TrainingError: A process has another digest than the first one.
    """
    first, *others = processes.gather(dict(facts))
    for rank, other in enumerate(others, start=1):
        different = [name for name, digest in first.items() if other.get(name) != digest]
        if different:
            raise TrainingError(
                f"process {rank} has another {' and another '.join(different)} than process 0",
                remedy="start all processes with the same command, code and files",
            )


def sum_by_name(processes: Processes, sums: Mapping[str, float]) -> dict[str, float]:
    """The sum of each named number over the processes; one that a process lacks counts as 0 there."""
    total: dict[str, float] = {}
    for part in processes.gather(dict(sums)):
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
