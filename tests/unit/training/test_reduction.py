"""The gradient of an update is the same, however its micro-batches are shared out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqtrain.config.root import BatchingConfig
from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import IterationOptions
from seqtrain.testing.fakes import TinyModel, TinyTask
from seqtrain.training.distributed import Processes, SingleProcess
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.randomness import seed_everything
from seqtrain.training.reduction import AfterBackward, DataParallel, ExactSum, GradientReduction, LocalSum, PairwiseSum
from seqtrain.training.step import Learner, TrainableModule, UpdateOptions, run_update
from tests.unit.training.processes import joined_processes, run_in_processes

MICRO_BATCHES = 6
Gradients = dict[str, npt.NDArray[np.float32]]


class ModelWithSpare(TinyModel):
    """Has a parameter that no pass uses, and dropout, whose random numbers must follow the batch."""

    def __init__(self, task: TinyTask) -> None:
        super().__init__(task)
        self.spare = nn.Parameter(torch.ones(3))

    def features(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        features = super().features(source_tokens, source_lengths, previous_tokens)
        return nn.functional.dropout(features, 0.2, self.training)


def make_reduction(kind: str, module: nn.Module, processes: Processes) -> GradientReduction:
    makers: dict[str, Callable[[], GradientReduction]] = {
        "local": lambda: LocalSum(module),
        "ddp": lambda: DataParallel(module, find_unused_parameters=True),
        "after": lambda: AfterBackward(module),
        "exact": lambda: ExactSum(module, processes),
    }
    return makers[kind]()


def last_gradients(kind: str, processes: Processes, num_examples: int) -> Gradients:
    """The averaged gradients of the last of an epoch's updates, each of 6 micro-batches."""
    seed_everything(1, "weights")
    task = TinyTask(num_examples=num_examples)
    module = TrainableModule(ModelWithSpare(task), CrossEntropy(CrossEntropyConfig(), task))
    learner = Learner(
        task=task,
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.0),
        precision=MixedPrecision(torch.float32, torch.device("cpu")),
        reduction=make_reduction(kind, module, processes),
        processes=processes,
        device=torch.device("cpu"),
    )
    iterator = task.get_batch_iterator(
        task.dataset("train"),
        IterationOptions(
            batching=BatchingConfig(max_sentences=1, max_tokens=None, required_batch_size_multiple=1),
            max_positions=(99, 99),
            update_freq=MICRO_BATCHES // processes.world_size,
            rank=processes.rank,
            world_size=processes.world_size,
        ),
    )
    for number, batches in enumerate(iterator):
        options = UpdateOptions(clip_norm=0.5, seed=1)
        result = run_update(learner, batches, MetricSums(), options=options, first_batch=(1, number * MICRO_BATCHES))
    assert result.num_sentences == (num_examples - 1) % MICRO_BATCHES + 1
    return gradients_of(module)


def gradients_of(module: nn.Module) -> Gradients:
    return {name: value.grad.numpy().copy() for name, value in module.named_parameters() if value.grad is not None}


def in_process(cases: list[tuple[str, int]]) -> dict[tuple[str, int], Gradients]:
    with joined_processes() as processes:
        return {case: last_gradients(case[0], processes, case[1]) for case in cases}


@pytest.fixture(scope="module")
def of_three() -> list[dict[tuple[str, int], Gradients]]:
    """What each of three processes has, by kind and number of examples; 13 and 14 leave a last update that is short."""
    kinds = ("ddp", "after", "exact")
    return run_in_processes(in_process, 3, [(kind, number) for kind in kinds for number in (12, 13, 14)])


@pytest.mark.parametrize("num_examples", [12, 13, 14])
@pytest.mark.parametrize("kind", ["ddp", "after"])
def test_three_processes_have_the_gradients_of_one(
    of_three: list[dict[tuple[str, int], Gradients]], kind: str, num_examples: int
) -> None:
    expected = last_gradients("local", SingleProcess(), num_examples)
    for gradients in of_three:
        assert_close(gradients[kind, num_examples], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("num_examples", [12, 13, 14])
def test_exact_sums_are_the_same_to_the_bit_in_one_and_three_processes(
    of_three: list[dict[tuple[str, int], Gradients]], num_examples: int
) -> None:
    expected = last_gradients("exact", SingleProcess(), num_examples)
    assert "model.spare" not in expected
    for process in of_three:
        gradients = process["exact", num_examples]
        assert gradients.keys() == expected.keys()
        assert all(np.array_equal(gradients[name], expected[name]) for name in expected)


def test_an_update_of_micro_batches_has_the_gradient_of_one_large_batch() -> None:
    """Of the definition: the sum over all sentences, divided by their tokens."""
    task = TinyTask(num_examples=12)
    batch = task.dataset("train").collate(torch.arange(12).numpy())
    seed_everything(1, "weights")
    module = TrainableModule(TinyModel(task), CrossEntropy(CrossEntropyConfig(), task))
    output = module(batch)
    (output.loss_sum / batch.num_tokens).backward()
    expected = gradients_of(module)
    reduction = LocalSum(module)
    module.zero_grad()
    num_tokens = 0
    for index in range(12):
        small: Batch = task.dataset("train").collate(torch.tensor([index]).numpy())
        with reduction.micro_batch(small, is_last=index == 11):
            module(small).loss_sum.backward()
        num_tokens += small.num_tokens
    gradients = {name: gradient / num_tokens for name, gradient in gradients_of(module).items()}
    assert_close(gradients, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("count", range(1, 18))
def test_a_pairwise_sum_is_the_tree_over_powers_of_two(count: int) -> None:
    numbers = torch.rand(count, generator=torch.Generator().manual_seed(count)) * 10.0 ** torch.arange(count).sub(8)

    def tree(row: list[Tensor]) -> Tensor:
        if len(row) == 1:
            return row[0]
        half = 1 << (len(row) - 1).bit_length() - 1
        return tree(row[:half]) + tree(row[half:])

    pairwise = PairwiseSum()
    for number in numbers:
        pairwise.add(number)
    assert pairwise.take() == tree(list(numbers))
