"""The search for the largest batches that the memory holds, on memories whose size is a formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from seqtrain.config.root import BatchForm, BatchingConfig, TrainBatchingConfig
from seqtrain.data.dataset import IterationOptions
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.max_tokens import Search, Trial, agreed_search, worst_batches
from seqtrain.training.memory import MemoryMeter
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.recording import RecordedPass
from seqtrain.training.reduction import LocalSum
from seqtrain.training.step import Learner
from tests.unit.training.processes import joined_processes, run_in_processes
from tests.unit.training.test_recording import FakeTape
from tests.unit.training.traced import make_module

Memory = Callable[[int], int]
LIMIT = 10_000_000
MOST = 10**9

MEMORIES: dict[str, Memory] = {
    "even": lambda tokens: 2_000_000 + 300 * tokens,
    "all of it activations": lambda tokens: 700 * tokens,
    "nearly all of it the model": lambda tokens: 9_600_000 + 9 * tokens,
    "attention": lambda tokens: 1_000_000 + 50 * tokens + tokens**2 // 50,
    "jumps": lambda tokens: 2_000_000 + 300 * tokens + 500_000 * (tokens // 5000),
    "blocks": lambda tokens: 2_000_000 + 2**18 * (tokens // 1000 + 1),
}


class Meter:
    """A memory of a size, which fails above it, and remembers what it was asked."""

    def __init__(self, memory: Memory, size: int = LIMIT) -> None:
        self.memory = memory
        self.size = size
        self.asked: list[int] = []

    def __call__(self, tokens: int) -> int | None:
        self.asked.append(tokens)
        peak = self.memory(tokens)
        return peak if peak <= self.size else None


def largest(memory: Memory, limit: int) -> int:
    """By trying every number."""
    return next(tokens for tokens in range(1, MOST) if memory(tokens + 1) > limit)


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("first", [512, 4096, 500_000])
def test_a_gpus_search_comes_within_a_fiftieth_of_the_largest(name: str, first: int) -> None:
    meter = Meter(MEMORIES[name])
    found = Search(meter, LIMIT, survives_overshoot=True).run(first, most=MOST)
    assert found is not None
    expected = largest(MEMORIES[name], LIMIT)
    assert expected * 0.98 - 1 <= found <= expected
    assert len(meter.asked) < 30


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("first", [512, 4096])
def test_a_hosts_search_never_needs_more_than_there_is(name: str, first: int) -> None:
    meter = Meter(MEMORIES[name], size=LIMIT)
    limit = int(0.9 * LIMIT) if name != "nearly all of it the model" else int(0.99 * LIMIT)
    found = Search(meter, limit, survives_overshoot=False).run(first, most=MOST)
    assert found is not None
    assert max(map(MEMORIES[name], meter.asked)) <= LIMIT
    assert largest(MEMORIES[name], limit) * 0.85 <= found <= largest(MEMORIES[name], limit)


def test_what_is_found_was_measured_itself() -> None:
    for survives in (True, False):
        meter = Meter(MEMORIES["jumps"])
        found = Search(meter, LIMIT, survives_overshoot=survives).run(4096, most=MOST)
        assert found in meter.asked


def test_nothing_above_the_whole_data_is_tried() -> None:
    meter = Meter(MEMORIES["even"])
    assert Search(meter, LIMIT, survives_overshoot=True).run(4096, most=5000) == 5000
    assert meter.asked == [4096, 5000]


def test_a_memory_that_holds_nothing_is_none() -> None:
    meter = Meter(lambda tokens: LIMIT + tokens)
    assert Search(meter, LIMIT, survives_overshoot=True).run(4096, least=100, most=MOST) is None
    assert meter.asked == [4096, 2048, 1024, 512, 256, 128, 100]


class FixedMeter(MemoryMeter):
    """A memory of a size in which each token takes 100 bytes."""

    survives_overshoot = True

    def __init__(self, size: int) -> None:
        self.size = size
        self.tokens = 0

    def limit(self) -> int:
        return self.size

    def peak(self, computation: Callable[[], None]) -> int | None:
        computation()
        return 100 * self.tokens if 100 * self.tokens <= self.size else None

    def try_tokens(self, tokens: int) -> None:
        self.tokens = tokens


def search_together(sizes: list[int]) -> int | None:
    with joined_processes() as processes:
        meter = FixedMeter(sizes[processes.rank])
        return agreed_search(meter, meter.try_tokens, processes).run(1000, most=MOST)


def test_processes_agree_on_the_number_of_the_one_with_the_least_room() -> None:
    first, second = run_in_processes(search_together, 2, [10_000_000, 1_000_000])
    assert first == second
    assert 0.98 * 9000 - 1 <= first <= 9000  # a tenth of 10,000 stays free


def test_the_worst_batches_are_those_with_the_most_tokens_the_longest_and_the_widest() -> None:
    lengths = np.array([[2, 2]] * 12 + [[3, 9]] * 2 + [[12, 3]] * 2, dtype=np.int64)
    options = IterationOptions(
        batching=BatchingConfig(max_tokens=24, required_batch_size_multiple=1), max_positions=(99, 99)
    )
    worst = worst_batches(lengths, options)  # of three: 12 sentences of 2 and 2 tokens, 2 of 3 and 9, 2 of 12 and 3
    assert [lengths[batch].tolist() for batch in worst] == [[[2, 2]] * 12, [[12, 3]] * 2]


@pytest.mark.parametrize("update_freq", [1, 2])
def test_a_trial_goes_on_until_a_recording_is_repeated_and_records_each_number_anew(update_freq: int) -> None:
    task, device = TinyTask(num_letters=20), torch.device("cpu")
    module, tapes = make_module(task), dict[int, FakeTape]()
    learner = Learner(
        task=task,
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        precision=MixedPrecision(torch.float32, device),
        reduction=LocalSum(module),
        processes=SingleProcess(),
        device=device,
    )

    def learner_for(max_tokens: int) -> Learner:
        tapes[max_tokens] = FakeTape(module)
        return replace(learner, recording=RecordedPass(module, tapes[max_tokens]))

    batching = TrainBatchingConfig(form=BatchForm.packed, max_tokens=1)
    options = IterationOptions(batching=batching, max_positions=(99, 99), packed=True)
    trial = Trial(learner_for, task.dataset("train"), options, update_freq=update_freq)
    for max_tokens in (64, 128):
        trial(max_tokens)
    # the recording is repeated once to compare it, and then instead of a pass
    assert all(tapes[max_tokens].num_repeated >= 2 for max_tokens in (64, 128))
    assert all(parameter.grad is None for parameter in module.parameters())
