"""What the trainer and the generators need of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from seqtrain.config.root import BatchingConfig
    from seqtrain.data.batch import Batch
    from seqtrain.data.packing import PackedShape


class Lengths(Protocol):
    """The source and target tokens of N examples: an array (N, 2) of integers, or what gives slices of one."""

    def __len__(self) -> int:
        """The number of examples, N."""
        ...

    def __getitem__(self, examples: slice, /) -> np.ndarray:
        """(stop - start, 2) of any integer type."""
        ...


class Dataset(Protocol):
    """Examples of one split that can be gathered into batches."""

    @property
    def lengths(self) -> np.ndarray:
        """(num_examples, 2) int64: source and target tokens of each, the end symbols included.

        The source column is 0 for a language model. Training reads `length_table` instead, for this takes memory.
        """
        ...

    @property
    def length_table(self) -> Lengths:
        """The same in slices, which is how a plan reads them; `lengths` itself will do where there are few."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of the content. A resumed run refuses other data."""
        ...

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def collate(self, indices: np.ndarray) -> Batch:
        """Gather examples into one batch, in the order of the indices (B,)."""
        ...


@runtime_checkable
class PackableDataset(Protocol):
    """A dataset of sources and targets that can be gathered into packed batches too; see `seqtrain.data.packing`."""

    def collate_packed(self, indices: np.ndarray, shape: PackedShape) -> Batch:
        """Gather examples, which fit, into one packed batch, in the order of the indices (B,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class IterationOptions:
    """How one epoch over a dataset is cut and dealt.

    The plan is global and a pure function of the lengths, the limits, the seed and the epoch: micro-batch number g of
    the epoch goes to rank g % world_size, and update u is made of the numbers u * n ... (u + 1) * n - 1 with
    n = update_freq * world_size.

    Attributes:
        batching: The limits.
        max_positions: The longest source and target that task and model take; longer examples are left out and counted.
        seed: Of the order.
        epoch: Counted from 1.
        shuffle: Whether examples of a length, and the batches, are put in a random order.
        update_freq: Micro-batches a rank, of which one update is made.
        rank: This process.
        world_size: The number of processes.
        first_batch: The global micro-batch number to start from (a multiple of update_freq * world_size).
        packed: Whether batches are packed; see `seqtrain.data.packing`.
        pin_memory: Whether batches are made in page-locked memory, from which a GPU copies on its own.
    """

    batching: BatchingConfig
    max_positions: tuple[int, int]
    seed: int = 1
    epoch: int = 1
    shuffle: bool = True
    update_freq: int = 1
    rank: int = 0
    world_size: int = 1
    first_batch: int = 0
    packed: bool = False
    pin_memory: bool = False
