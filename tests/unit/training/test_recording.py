"""A recorded pass gives the losses and gradients of the pass as it is written, whatever the batch.

Without a GPU a fake tape repeats the work and writes the results where they were written when it was recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqtrain.criterions.base import LossOutput
from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.data.batch import Batch
from seqtrain.errors import TrainingError
from seqtrain.models.base import Model
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.compilation import CompileOptions
from seqtrain.training.recording import CudaTape, RecordedPass, Tape
from seqtrain.training.step import TrainableModule
from tests.unit.training.traced import make_module, packed_batches

TASK = TinyTask(num_letters=20, num_examples=100)

T = TypeVar("T")


class FakeTape(Tape):
    """Does recorded work again, with the old results' memory for the new ones."""

    def __init__(self, module: nn.Module) -> None:
        self.num_repeated = 0
        self._parameters = list(module.parameters())

    def prepare(self, work: Callable[[], T]) -> T:
        """See `Tape`."""
        return work()

    def record(self, work: Callable[[], T]) -> T:
        """See `Tape`; nothing has its value yet."""
        self._work: Callable[[], object] = work
        with torch.random.fork_rng(devices=[]):  # recording draws nothing
            result = work()
        self._results = self._written_by(result)
        for tensor in self._results:
            tensor.fill_(torch.nan)
        return result

    def repeat(self) -> None:
        """See `Tape`."""
        self.num_repeated += 1
        for old, new in zip(self._results, self._written_by(self._work()), strict=True):
            old.copy_(new)
        for parameter in self._parameters:
            parameter.grad = None

    def _written_by(self, result: object) -> list[Tensor]:
        assert isinstance(result, LossOutput)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        return [result.loss_sum.detach(), *(value.detach() for value in result.logs.values()), *gradients]


def step_of(module: TrainableModule) -> Callable[[Batch], LossOutput]:
    def step(batch: Batch) -> LossOutput:
        output: LossOutput = module(batch)
        output.loss_sum.backward()
        return output

    return step


def gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]


def passes(module: TrainableModule, make: Callable[[Batch], LossOutput], *, num_batches: int) -> list[list[Tensor]]:
    """Losses and gradients of updates of so many micro-batches."""
    results = []
    for number, batch in enumerate(packed_batches(TASK, 64)):
        torch.manual_seed(number)
        output = make(batch)
        values = [output.loss_sum.detach().clone(), *output.logs.values(), torch.tensor(output.sample_size)]
        if (number + 1) % num_batches == 0:
            values += gradients(module)
            module.zero_grad(set_to_none=True)
        results.append(values)
    return results


@pytest.mark.parametrize("num_batches", [1, 2, 3])
def test_repeated_passes_are_those_that_are_written(num_batches: int) -> None:
    module, recorded = (make_module(TASK, dropout=0.3) for _ in range(2))
    tape = FakeTape(recorded)
    repeat = RecordedPass(recorded, tape)
    expected = passes(module, step_of(module), num_batches=num_batches)
    results = passes(recorded, lambda batch: repeat(batch, step_of(recorded)), num_batches=num_batches)
    assert tape.num_repeated == len(results) - 3, "one to compare, and all from the fifth on"
    for result, values in zip(results, expected, strict=True):
        assert_close(result, values)


def test_gradients_stay_in_one_place() -> None:
    module = make_module(TASK)
    repeat = RecordedPass(module, FakeTape(module))
    places = []
    for batch in packed_batches(TASK, 64):
        repeat(batch, step_of(module))
        places.append([parameter.grad.data_ptr() for parameter in module.parameters() if parameter.grad is not None])
        module.zero_grad(set_to_none=True)
    assert places[4] == places[5] == places[-1]


class PerSentence(CrossEntropy):
    """Divides by what a criterion may divide by: sentences."""

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        """See `Criterion`."""
        output = super().__call__(model, batch)
        output.sample_size = len(batch)
        return output


class Stale(CrossEntropy):
    """Reads what a recording cannot know: a number of the host."""

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        """See `Criterion`."""
        output = super().__call__(model, batch)
        output.loss_sum = output.loss_sum * batch.num_source_tokens
        return output


class Odd(CrossEntropy):
    """Divides by a number of its own."""

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        """See `Criterion`."""
        output = super().__call__(model, batch)
        output.sample_size = 7
        return output


def with_criterion(kind: type[CrossEntropy]) -> TrainableModule:
    return TrainableModule(make_module(TASK).model, kind(CrossEntropyConfig(), TASK)).train()


def test_a_loss_for_each_sentence_is_divided_by_their_number() -> None:
    module = with_criterion(PerSentence)
    tape = FakeTape(module)
    repeat = RecordedPass(module, tape)
    for batch in packed_batches(TASK, 64):
        assert repeat(batch, step_of(module)).sample_size == len(batch)
    assert tape.num_repeated > 2


@pytest.mark.parametrize("kind", [Stale, Odd])
def test_a_loss_that_cannot_be_recorded_goes_on_as_it_is_written(
    kind: type[CrossEntropy], caplog: pytest.LogCaptureFixture
) -> None:
    module, recorded = with_criterion(kind), with_criterion(kind)
    tape = FakeTape(recorded)
    repeat = RecordedPass(recorded, tape)
    expected = passes(module, step_of(module), num_batches=1)
    results = passes(recorded, lambda batch: repeat(batch, step_of(recorded)), num_batches=1)
    assert_close(results, expected)
    assert tape.num_repeated == 1
    assert "another loss" in caplog.text


@pytest.mark.gpu
@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_cuda_graph_gives_what_the_host_sends(is_compiled: bool) -> None:
    """The same random numbers too, from the same seeds."""
    device = torch.device("cuda")
    module, recorded = (make_module(TASK, dropout=0.3).to(device) for _ in range(2))
    if is_compiled:
        for each in (module, recorded):
            each.compile_training(CompileOptions())
    repeat = RecordedPass(recorded, CudaTape(device))
    expected = passes(module, lambda batch: step_of(module)(batch.to(device)), num_batches=2)
    results = passes(recorded, lambda batch: repeat(batch.to(device), step_of(recorded)), num_batches=2)
    assert repeat._is_recorded
    for result, values in zip(results, expected, strict=True):
        assert_close(result, values)


def test_a_pass_that_cannot_be_recorded_is_an_error_that_names_the_setting() -> None:
    class BrokenTape(FakeTape):
        def record(self, work: Callable[[], T]) -> T:
            raise RuntimeError("operation not permitted when stream is capturing")

    module = make_module(TASK)
    recorded = RecordedPass(module, BrokenTape(module))
    with pytest.raises(TrainingError, match="not permitted") as error:
        passes(module, lambda batch: recorded(batch, step_of(module)), num_batches=1)
    assert "training.cuda_graphs=never" in str(error.value.remedy)
