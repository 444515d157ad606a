"""Open and plan one corpus, in a process of its own: `python -m benchmarks.data.planning FOLDER NUM_PAIRS`.

Prints what it took as JSON. Seconds are processor time unless they are called wall; memory is what the process itself
holds, without the pages of mapped files, which the system takes back when it needs them.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from benchmarks.data.corpora import write_pairs
from seqtrain.config.root import BatchingConfig
from seqtrain.data.batching import Plan
from seqtrain.data.databin import open_tokens
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.indexed import open_indexed
from seqtrain.data.packing import PackedPlan
from seqtrain.data.pairs import PairDataset

VOCABULARY_SIZE = 32_000
MAX_TOKENS = 4096
MOST_READ = 10_000_000
"""Pairs of the largest corpus whose first opening, which reads all tokens, is measured too."""


class Memory:
    """The most memory that the process held, looked at every hundredth of a second."""

    def __init__(self) -> None:
        self.peak = self.held()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    @staticmethod
    def held() -> int:
        """Bytes, without the pages of files."""
        _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, self.held())


class Stopwatch:
    """Processor seconds and seconds by the clock since it was made."""

    def __init__(self) -> None:
        self._processor, self._wall = time.process_time(), time.perf_counter()

    def processor(self) -> float:
        """Processor seconds."""
        return time.process_time() - self._processor

    def wall(self) -> float:
        """Seconds by the clock."""
        return time.perf_counter() - self._wall


def main() -> None:
    """Open, plan one epoch, take all its batches, begin again in the middle; then plan one of packed batches."""
    folder, num_pairs = Path(sys.argv[1]), int(sys.argv[2])
    prefixes = write_pairs(folder, num_pairs)
    found: dict[str, float | None] = {"num_pairs": num_pairs, "open_first": None}
    found["gigabytes"] = sum(path.stat().st_size for path in folder.iterdir()) / 1e9
    if num_pairs <= MOST_READ:
        watch = Stopwatch()
        for prefix in prefixes:
            open_tokens(prefix, VOCABULARY_SIZE)
        found["open_first"] = watch.processor()
    memory, held, watch = Memory(), Memory.held(), Stopwatch()
    tables = [open_indexed(prefix, vocabulary_size=VOCABULARY_SIZE, is_checked=True) for prefix in prefixes]
    dataset = PairDataset(*tables)
    found["open_again"] = watch.processor()
    found |= _plan(dataset)
    memory.close()
    found["memory"] = max(0, memory.peak - held)
    memory, held = Memory(), Memory.held()
    found["packed"] = _plan_packed(dataset)
    memory.close()
    print(json.dumps({**found, "packed_memory": max(0, memory.peak - held)}))


def _options(*, packed: bool) -> IterationOptions:
    batching = BatchingConfig(max_tokens=MAX_TOKENS)
    return IterationOptions(batching=batching, max_positions=(1024, 1024), packed=packed)


def _plan_packed(dataset: PairDataset) -> float:
    """Seconds for one epoch of packed batches."""
    watch = Stopwatch()
    plan = PackedPlan(dataset.length_table, _options(packed=True))
    num_planned = sum(len(batch) for batch in plan.batches())
    assert num_planned == plan.num_examples == len(dataset), "every pair is in one batch"
    return watch.processor()


def _plan(dataset: PairDataset) -> dict[str, float]:
    options, watch = _options(packed=False), Stopwatch()
    plan = Plan(dataset.length_table, options)
    cut = watch.processor()
    batches = plan.batches()
    num_planned = len(next(batches))
    first_batch_wall = watch.wall()
    num_planned += sum(len(batch) for batch in batches)
    planned, planned_wall = watch.processor(), watch.wall()
    assert num_planned == plan.num_examples == len(dataset), "every pair is in one batch"
    watch = Stopwatch()
    batches = Plan(dataset.length_table, options).batches(plan.num_batches // 2)
    next(batches)
    resumed_wall = watch.wall()
    return {
        "num_batches": plan.num_batches,
        "cut": cut,
        "planned": planned,
        "planned_wall": planned_wall,
        "first_batch_wall": first_batch_wall,
        "resumed_wall": resumed_wall,
    }


if __name__ == "__main__":
    main()
