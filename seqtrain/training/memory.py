"""Memory: how much there is, how much a computation takes, and what to say when it is not enough."""

from __future__ import annotations

import ctypes
import gc
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from seqtrain.config.root import TrainConfig
from seqtrain.data.batch import Batch
from seqtrain.errors import TrainingError

__all__ = [
    "CudaMemory",
    "HostMemory",
    "MemoryMeter",
    "describe_batch",
    "explaining_out_of_memory",
    "is_out_of_memory",
    "make_meter",
]

_GIB = 2**30
_CGROUPS = (  # of version 2 and 1: the limit, what is used, and what of it is files that need not stay in memory
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's allocator on the CPU


def describe_batch(batch: Batch) -> str:
    """The shape of a batch: what its memory depends on."""
    if batch.is_packed and batch.source_tokens is not None:
        return f"{len(batch)} sentences in {batch.source_tokens.numel()} source and {batch.targets.numel()} target rows"
    num_sentences, target_length = batch.targets.shape
    source_length = 0 if batch.source_tokens is None else batch.source_tokens.shape[1]
    source = "" if batch.source_tokens is None else f"{source_length} source and "
    return (
        f"{num_sentences} sentences of up to {source}{target_length} target tokens "
        f"({num_sentences * max(source_length, target_length)} tokens with padding)"
    )


def _num_cells(batch: Batch) -> int:
    return batch.targets.numel() + (0 if batch.source_tokens is None else batch.source_tokens.numel())


@contextmanager
def explaining_out_of_memory(
    batches: Sequence[Batch], config: TrainConfig, *, update: int, process: int, device: torch.device
) -> Iterator[None]:
    """Around an update: say what did not fit, and what to set.

    Args:
        batches: The update's micro-batches of this process.
        config: Of the run.
        update: Its number.
        process: The number of this process.
        device: Where the model is.

    Raises:
        TrainingError: There was no memory left.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        largest = max(batches, key=_num_cells)
        raise TrainingError(
            f"process {process} ran out of memory in update {update}, whose largest batch has "
            f"{describe_batch(largest)}; {_used(device) / _GIB:.2f} GiB were in use: {_first_line(error)}",
            remedy=_remedy(config, largest),
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _remedy(config: TrainConfig, batch: Batch) -> str:
    if len(batch) == 1:
        return "one sentence alone does not fit: leave out longer ones, or take a smaller model or optimizer"
    name = "max_tokens" if config.batching.max_tokens is not None else "max_sentences"
    half = max(1, getattr(config.batching, name) // 2)
    return (
        f"batching.{name}={half} training.update_freq={2 * config.training.update_freq} keeps the size of an update; "
        "batching.find_max_tokens=true finds the largest that fits. What was saved before is untouched"
    )


def _used(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _resident()


class MemoryMeter(ABC):
    """Measures what computations take.

    Attributes:
        survives_overshoot: Whether a computation that needs too much fails harmlessly. The CPU's memory is that of all
            programs, and the system ends one of them.
    """

    survives_overshoot: bool

    @abstractmethod
    def limit(self) -> int:
        """The bytes that this process can have in all."""

    @abstractmethod
    def peak(self, computation: Callable[[], None]) -> int | None:
        """The most bytes that this process has while it computes; None if they did not suffice."""


def make_meter(device: torch.device, num_processes: int) -> MemoryMeter:
    """The meter of a device's memory.

    Args:
        device: A GPU is one process's own.
        num_processes: Those of the run that share this machine's memory.
    """
    return CudaMemory(device) if device.type == "cuda" else HostMemory(num_processes)


class CudaMemory(MemoryMeter):
    """The memory of a GPU, as torch's allocator reserves it: what it cannot use for its pieces counts too."""

    survives_overshoot = True

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def limit(self) -> int:
        """See `MemoryMeter`: what is free, and what this process has reserved."""
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self._device)
        return free + torch.cuda.memory_reserved(self._device)

    def peak(self, computation: Callable[[], None]) -> int | None:
        """See `MemoryMeter`."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        try:
            computation()
            torch.cuda.synchronize(self._device)
        except torch.OutOfMemoryError:
            return None
        finally:
            gc.collect()  # what the failed computation still held
        return torch.cuda.max_memory_reserved(self._device)


class HostMemory(MemoryMeter):
    """The memory of the machine, or of the container if that has less, as Linux counts it.

    Args:
        num_processes: Those that share what is available.
        proc: Where Linux tells of processes and memory.
        cgroup: Where it tells of a container's limits.
    """

    survives_overshoot = False

    def __init__(
        self, num_processes: int = 1, *, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")
    ) -> None:
        self._num_processes = num_processes
        self._proc = proc
        self._cgroup = cgroup

    def limit(self) -> int:
        """See `MemoryMeter`: what is available, and what this process has.

        Raises:
            TrainingError: The system does not tell.
        """
        available = _kibibytes(self._proc / "meminfo", "MemAvailable")
        resident = _kibibytes(self._proc / "self" / "status", "VmRSS")
        if available is None or resident is None:
            raise TrainingError(
                "this system does not tell how much memory is available",
                remedy="set batching.max_tokens, and batching.find_max_tokens=false",
            )
        limits = [available]
        for limit, use, statistics, cached in _CGROUPS:
            most, used = _number(self._cgroup / limit), _number(self._cgroup / use)
            if most is not None and used is not None:
                limits.append(max(0, most - used + (_named(self._cgroup / statistics, cached) or 0)))
        return resident + min(limits) // self._num_processes

    def peak(self, computation: Callable[[], None]) -> int | None:
        """See `MemoryMeter`."""
        gc.collect()
        _give_freed_memory_back()
        status = self._proc / "self" / "status"
        with suppress(OSError):  # not allowed in some containers: the peak is then of the process's life, never too low
            (self._proc / "self" / "clear_refs").write_text("5")  # the peak begins anew
        try:
            computation()
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return None
            raise
        return _kibibytes(status, "VmHWM")


def _resident() -> int:
    return _kibibytes(Path("/proc/self/status"), "VmRSS") or 0


def _kibibytes(file: Path, name: str) -> int | None:
    """The bytes that a line like `VmRSS:  1024 kB` tells; None where there is no such line."""
    number = _named(file, f"{name}:")
    return None if number is None else 1024 * number


def _named(file: Path, name: str) -> int | None:
    """The number after a name at the beginning of a line; None where there is no such line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), None)


def _number(file: Path) -> int | None:
    """The number in a file; None where there is none, as `max` means in a cgroup."""
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _give_freed_memory_back() -> None:
    """Tell glibc to return freed memory, which `prepare_process` has it keep, so that the next peak is its own."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
