"""`batching.find_max_tokens`: the largest batches that the memory holds, found by real updates on the worst ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from seqtrain.data.batch import Batch
from seqtrain.data.batching import Plan
from seqtrain.data.dataset import Dataset, IterationOptions, PackableDataset
from seqtrain.data.packing import PackedPlan
from seqtrain.data.tokens import IntArray
from seqtrain.errors import TrainingError
from seqtrain.training.distributed import Processes
from seqtrain.training.memory import MemoryMeter
from seqtrain.training.metrics import MetricSums
from seqtrain.training.recording import PASSES_UNTIL_REPEATED
from seqtrain.training.step import Learner, UpdateOptions, run_update

__all__ = ["Search", "Trial", "agreed_search", "worst_batches"]

logger = logging.getLogger(__name__)

MARGIN = 0.1  # of the memory stays free: for fragments, for validation, for what the processes send each other
_PRECISION = 50  # the search ends within a fiftieth of the result
_FAR_BELOW = 32


class Search:
    """Finds the largest number of tokens whose memory is within a limit: it doubles, then halves the interval.

    The number that it finds was measured itself. Where the memory of a failure is everybody's, the search comes from
    far below, and tries no number if the line through the two measurements below it lies above the limit there.

    Args:
        measure: The peak, in bytes, of a number of tokens; None if it failed.
        limit: In bytes.
        survives_overshoot: Whether a failure does no harm.
    """

    def __init__(self, measure: Callable[[int], int | None], limit: int, *, survives_overshoot: bool) -> None:
        self._measure = measure
        self._limit = limit
        self._survives_overshoot = survives_overshoot
        self._peaks: dict[int, int] = {}

    def run(self, first: int, *, least: int = 1, most: int) -> int | None:
        """Search.

        Args:
            first: Where to begin.
            least: No number below it is of use.
            most: No number above it makes a difference.

        Returns:
            The largest number of tokens, within a fiftieth; None if none fits.
        """
        tokens = min(max(first if self._survives_overshoot else first // _FAR_BELOW, least), most)
        too_many = None
        while not self._fits(tokens):
            if tokens <= least:
                return None
            too_many, tokens = tokens, max(tokens // 2, least)
        while too_many is None and tokens < most:
            candidate = min(2 * tokens, most)
            if self._fits(candidate):
                tokens = candidate
            else:
                too_many = candidate
        return tokens if too_many is None else self._bisect(tokens, too_many)

    def _bisect(self, low: int, high: int) -> int:
        while high - low > max(1, low // _PRECISION):
            middle = (low + high) // 2
            if self._fits(middle):
                low = middle
            else:
                high = middle
        return low

    def _fits(self, tokens: int) -> bool:
        if not self._survives_overshoot and self._expected(tokens) > self._limit:
            return False
        peak = self._measure(tokens)
        if peak is None:
            return False
        self._peaks[tokens] = peak
        return peak <= self._limit

    def _expected(self, tokens: int) -> float:
        """What the two measurements below let expect; nothing where there are none."""
        below = sorted(known for known in self._peaks if known < tokens)[-2:]
        if len(below) < 2:
            return 0.0
        first, second = (self._peaks[known] for known in below)
        slope = max(0.0, (second - first) / (below[1] - below[0]))
        return second + slope * (tokens - below[1])


def agreed_search(meter: MemoryMeter, trial: Callable[[int], None], processes: Processes) -> Search:
    """The search of several processes, which all try the same numbers: what counts is the process with the least room.

    Args:
        meter: Of this process's memory.
        trial: Computes with a number of tokens.
        processes: All call this, and run the search.
    """

    def measure(tokens: int) -> int | None:
        peak = meter.peak(lambda: trial(tokens))
        (most,) = processes.max([math.inf if peak is None else peak])
        if processes.is_first:
            shown = "too much" if math.isinf(most) else f"{most / 2**30:.2f} GiB"
            logger.info("batching.max_tokens=%d takes %s of %.2f GiB", tokens, shown, limit / 2**30)
        return None if math.isinf(most) else int(most)

    (least,) = processes.max([-meter.limit()])
    limit = int(-least * (1.0 - MARGIN))
    return Search(measure, limit, survives_overshoot=meter.survives_overshoot)


class Trial:
    """Real updates of a learner that is thrown away afterwards, on the worst batches of a plan.

    Args:
        learner_for: The learner for a number of tokens, with a recording of its own where passes of so many are
            recorded: a recording has one shape, and memory of its own, which goes with it. It is of one process alone,
            for a process that fails would leave the others waiting.
        dataset: The training data.
        options: How an epoch is cut.
        update_freq: Micro-batches of an update; from the second on there are gradients beside the activations.
    """

    def __init__(
        self, learner_for: Callable[[int], Learner], dataset: Dataset, options: IterationOptions, *, update_freq: int
    ) -> None:
        self._learner_for = learner_for
        self._dataset = dataset
        self._options = options
        self._num_batches = min(2, update_freq)

    def __call__(self, max_tokens: int) -> None:
        """Make the updates."""
        batching = replace(self._options.batching, max_tokens=max_tokens)
        learner, update = self._learner_for(max_tokens), UpdateOptions(clip_norm=1.0, seed=1)
        learner.module.train()
        num_updates = 1 if learner.recording is None else -(-PASSES_UNTIL_REPEATED // self._num_batches)
        try:
            for batch in self._batches(replace(self._options, batching=batching)):
                for _ in range(num_updates):
                    run_update(learner, [batch] * self._num_batches, MetricSums(), options=update, first_batch=(1, 0))
        finally:
            learner.optimizer.zero_grad(set_to_none=True)  # or gradients would keep the memory of a recording

    def _batches(self, options: IterationOptions) -> Iterator[Batch]:
        """The worst batches; of packed ones the first, for all take the same memory."""
        dataset = self._dataset
        if not options.packed:
            for indices in worst_batches(dataset.lengths, options):
                yield dataset.collate(indices)
            return
        assert isinstance(dataset, PackableDataset), "batching.form=packed is refused without one"
        plan = PackedPlan(dataset.length_table, options)
        if plan.shape is not None:
            yield dataset.collate_packed(next(plan.batches()), plan.shape)


def worst_batches(lengths: IntArray, options: IterationOptions) -> list[IntArray]:
    """The batches of a plan that may take the most memory, each once.

    They are the one with the most target tokens (whose logits are large), with the most tokens of both sides, with the
    largest squares of the lengths (attention), and with the most sentences, padding included.

    Args:
        lengths: (N, 2) source and target tokens of each example.
        options: How the plan is cut.
    """
    worst: dict[str, tuple[int, IntArray]] = {}
    for indices in Plan(lengths, replace(options, shuffle=False)).batches():
        source, target = (int(longest) for longest in np.max(lengths[indices], axis=0))
        sizes = {
            "targets": len(indices) * target,
            "both sides": len(indices) * (source + target),
            "squares": len(indices) * (source**2 + target**2),
            "sentences": len(indices),
        }
        for name, size in sizes.items():
            if name not in worst or size > worst[name][0]:
                worst[name] = (size, indices)
    return list({indices.tobytes(): indices for _, indices in worst.values()}.values())


def find_max_tokens(
    trial: Trial, meter: MemoryMeter, processes: Processes, *, dataset: Dataset, options: IterationOptions
) -> int:
    """The largest batching.max_tokens whose worst batches fit in the memory of every process, with a margin.

    Args:
        trial: Computes with a number of tokens.
        meter: Of this process's memory.
        processes: All call this.
        dataset: The training data.
        options: How an epoch is cut; the search begins at its max_tokens.

    Raises:
        TrainingError: Nothing fits.
    """
    first = options.batching.max_tokens
    assert first is not None, "batching.find_max_tokens is refused without a batching.max_tokens"
    sizes = dataset.lengths.max(axis=1)
    longest = min(int(sizes.max()), max(options.max_positions))
    most = longest * min(len(sizes), options.batching.max_sentences or len(sizes))
    if options.packed:
        most = min(most, int(dataset.lengths.sum(axis=0).max()))
    found = agreed_search(meter, trial, processes).run(first, least=int(sizes.min()), most=most)
    if found is None:
        raise TrainingError(
            "batching.find_max_tokens: the memory does not hold the model and one sentence",
            remedy="take a smaller model or optimizer, or more memory",
        )
    if processes.is_first:
        logger.info("batching.max_tokens=%d is the largest that fits", found)
    return found
