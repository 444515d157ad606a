"""One epoch of batches, dealt to ranks, made ahead of their use on a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from seqtrain.data.batch import Batch
from seqtrain.data.batching import Plan
from seqtrain.data.dataset import Dataset, IterationOptions, PackableDataset
from seqtrain.data.packing import PackedPlan
from seqtrain.data.tokens import IntArray

T = TypeVar("T")


class BatchIterator:
    """The updates of one epoch: each iteration yields this rank's micro-batches of one update.

    The lists of the epoch's last update may be shorter than `update_freq`. They are equally long in all ranks: one that
    has fewer micro-batches gets fillers (`Batch.is_filler`).

    Attributes:
        num_batches: The epoch's micro-batches, of all ranks.
        num_updates: The epoch's updates.
        num_examples: The examples that the epoch visits, each once.
        filtered: The examples that are left out, counted by reason.
    """

    def __init__(self, dataset: Dataset, options: IterationOptions) -> None:
        self._dataset = dataset
        self._options = options
        make_plan: type[Plan | PackedPlan] = PackedPlan if options.packed else Plan
        self._plan = make_plan(dataset.length_table, options)
        self._prefetcher: Prefetcher[list[Batch]] | None = None
        self.num_batches = self._plan.num_batches
        self.num_updates = -(-self.num_batches // self._batches_per_update)
        self.num_examples = self._plan.num_examples
        self.filtered = self._plan.filtered

    @property
    def _batches_per_update(self) -> int:
        return self._options.update_freq * self._options.world_size

    def __iter__(self) -> Iterator[list[Batch]]:
        """The updates from the one of `options.first_batch` on."""
        self.close()
        num_prefetch = self._options.batching.num_prefetch
        if num_prefetch == 0:
            yield from self._make_updates()
            return
        num_ahead = max(1, num_prefetch // self._options.update_freq)
        prefetcher = self._prefetcher = Prefetcher(self._make_updates, num_ahead)
        try:
            yield from prefetcher
        finally:
            prefetcher.close()

    def close(self) -> None:
        """Stop the thread, if one is running."""
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None

    def _make_updates(self) -> Iterator[list[Batch]]:
        rank, world_size = self._options.rank, self._options.world_size
        for update in self._deal():
            batches = [self._collate(indices) for indices in update[rank::world_size]]
            while len(batches) * world_size < len(update):
                batches.append(replace(self._collate(update[0]), is_filler=True))
            yield batches

    def _deal(self) -> Iterator[list[IntArray]]:
        """The batches of each update, of all ranks."""
        update: list[IntArray] = []
        for indices in self._plan.batches(self._options.first_batch):
            update.append(indices)
            if len(update) == self._batches_per_update:
                yield update
                update = []
        if update:
            yield update

    def _collate(self, indices: IntArray) -> Batch:
        dataset, plan = self._dataset, self._plan
        if isinstance(plan, PackedPlan):
            assert isinstance(dataset, PackableDataset), "batching.form=packed is refused without one"
            assert plan.shape is not None, "there are examples"
            batch = dataset.collate_packed(indices, plan.shape)
        else:
            batch = dataset.collate(indices)
        return batch.pin_memory() if self._options.pin_memory else batch


class Prefetcher(Generic[T]):
    """Runs an iterator on a thread, a bounded number of items ahead; its exception comes up in the consumer."""

    def __init__(self, make: Callable[[], Iterator[T]], num_ahead: int) -> None:
        """Start the thread.

        Args:
            make: Called on the thread; what it returns is iterated over there.
            num_ahead: Items that wait to be taken, at most.
        """
        self._make = make
        self._items: queue.Queue[T | _End] = queue.Queue(maxsize=num_ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seqtrain-prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """The items, in order."""
        while True:
            item = self._items.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def close(self) -> None:
        """Stop the thread and wait for it; items that were not taken are lost."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._items.get_nowait()  # makes room, in case the thread waits for it
            except queue.Empty:
                self._thread.join(timeout=0.01)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._make():
                self._items.put(item)
                if self._stop.is_set():
                    return
        except BaseException as raised:  # whatever it is, it belongs to the consumer
            error = raised
        self._items.put(_End(error))


class _End:
    """Stands behind the last item, with the exception that ended the iteration, if one did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
