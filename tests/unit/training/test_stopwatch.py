"""What a stopwatch is told where several processes train."""

from __future__ import annotations

import torch

from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.testing.fakes import TinyModel, TinyTask, collate
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.reduction import DataParallel
from seqtrain.training.step import Learner, TrainableModule, UpdateOptions, run_update
from seqtrain.training.stopwatch import Phase, Stopwatch
from tests.unit.training.processes import joined_processes, run_in_processes


class Listener(Stopwatch):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def enter(self, phase: Phase) -> None:
        self.phases.append(phase.value)


def phases_of_an_update() -> list[str]:
    """Those of the second update of two micro-batches; DistributedDataParallel divides its buckets anew after one."""
    task = TinyTask()
    module = TrainableModule(TinyModel(task), CrossEntropy(CrossEntropyConfig(), task))
    batches = [collate([([5, 6, 2], [7, 2])]), collate([([5, 2], [7, 8, 2])])]
    with joined_processes() as processes:
        learner = Learner(
            task=task,
            module=module,
            optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
            precision=MixedPrecision(torch.float32, torch.device("cpu")),
            reduction=DataParallel(module, find_unused_parameters=False),
            processes=processes,
            device=torch.device("cpu"),
            stopwatch=(listener := Listener()),
        )
        learner.reduction.stopwatch = listener
        for number in (0, 4):
            listener.phases.clear()
            options = UpdateOptions(clip_norm=0.0, seed=1)
            run_update(learner, batches, MetricSums(), options=options, first_batch=(1, number))
    return listener.phases


def test_traffic_counts_from_the_last_gradient_on() -> None:
    first, second = run_in_processes(phases_of_an_update, 2)
    micro_batch = ["forward", "forward", "backward"]
    alone = [*micro_batch, "communication", "host"]
    together = [*micro_batch, "communication", "communication", "host"]  # within the backward pass, and behind it
    assert first == second == [*alone, *together, "communication", "optimizer", "host"]
