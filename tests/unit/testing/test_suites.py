"""The contract suites find the faults that they are there to find: each plug-in below has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqtrain.criterions import Criterion, CriterionConfig, LossOutput
from seqtrain.data.batch import Batch
from seqtrain.lr_schedulers import LRScheduler, LRSchedulerConfig
from seqtrain.models import Model
from seqtrain.models.base import RecomputeCache
from seqtrain.testing import (
    CriterionContract,
    LRSchedulerContract,
    ModelContract,
    OptimizerContract,
    TinyModel,
    TinyTask,
)


class LooksAhead(TinyModel):
    """Sees the targets that it is to predict."""

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        return super().forward(source_tokens, source_lengths, previous_tokens.roll(-1, dims=1))


class ReadsPadding(TinyModel):
    """Takes padding for source tokens."""

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        lengths = torch.full_like(source_lengths, source_tokens.shape[1])
        return super().forward(source_tokens, lengths, previous_tokens)


class HasAnIdleParameter(TinyModel):
    """Has a weight that no logits depend on."""

    def __init__(self, task: TinyTask) -> None:
        super().__init__(task)
        self.idle = nn.Parameter(torch.zeros(3))


class KeepsStateOutside(TinyModel):
    """Has a tensor that decides the logits and is not saved."""

    def __init__(self, task: TinyTask) -> None:
        super().__init__(task)
        self.bias = torch.randn(len(task.target_vocabulary))

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        return super().forward(source_tokens, source_lengths, previous_tokens) + self.bias


class RemembersAllTokens(TinyModel):
    """Its logits depend on all tokens before, so that it matters whether rows are moved."""

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        memory = self.target_embedding(previous_tokens).cumsum(dim=1)
        logits: Tensor = self.output(memory)
        return super().forward(source_tokens, source_lengths, previous_tokens) + logits


class CacheThatStays(RecomputeCache):
    """Does not move its rows."""

    def reorder(self, parents: Tensor) -> None:
        pass


class ForgetsToReorder(RemembersAllTokens):
    """Decodes with a cache whose rows do not follow their parents."""

    def init_cache(self, encoded: Any, beam_size: int) -> RecomputeCache:
        source_tokens, source_lengths = encoded
        return CacheThatStays(source_tokens, source_lengths, beam_size)


def suite_of_model(model_class: Callable[[TinyTask], Model]) -> ModelContract:
    """The model suite, over this model instead of a registered one."""

    class Suite(ModelContract):
        def build(self, *arguments: Any) -> Any:
            return model_class(*arguments)

    return Suite()


MODEL_TESTS = [name for name in dir(ModelContract) if name.startswith("test_") and "its_settings" not in name]


@pytest.mark.parametrize("test", [name for name in MODEL_TESTS if "one_line" not in name and "features" not in name])
def test_a_sound_model_passes(test: str) -> None:
    getattr(suite_of_model(RemembersAllTokens), test)()


@pytest.mark.parametrize(
    ("model_class", "test"),
    [
        (LooksAhead, "test_no_logits_depend_on_later_target_tokens"),
        (ReadsPadding, "test_padding_does_not_change_the_logits_of_a_sentence"),
        (HasAnIdleParameter, "test_gradients_reach_every_parameter"),
        (KeepsStateOutside, "test_its_state_makes_another_model_the_same"),
        (ForgetsToReorder, "test_a_reordered_cache_continues_the_parents_of_its_rows"),
    ],
)
def test_a_faulty_model_fails(model_class: Callable[[TinyTask], Model], test: str) -> None:
    with pytest.raises(AssertionError):
        getattr(suite_of_model(model_class), test)()


class SummedLoss(Criterion):
    """Cross-entropy, to be spoilt below."""

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        logits = model.forward_batch(batch).flatten(0, 1)[batch.target_positions]
        targets = batch.targets.flatten()[batch.target_positions]
        loss = nn.functional.cross_entropy(logits, targets, reduction="sum")
        return LossOutput(loss, batch.num_tokens, {"nll_loss": loss.detach()})


class AveragedLoss(SummedLoss):
    """Gives a mean."""

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        output = super().__call__(model, batch)
        return LossOutput(output.loss_sum / batch.num_tokens, output.sample_size, output.logs)


class CountsPadding(Criterion):
    """Takes padding for targets."""

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        logits = model.forward_batch(batch).flatten(0, 1)
        loss = nn.functional.cross_entropy(logits, batch.targets.flatten(), reduction="sum")
        return LossOutput(loss, batch.targets.numel())


class LogsWithGraph(SummedLoss):
    """Logs a tensor that holds its graph."""

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        output = super().__call__(model, batch)
        return LossOutput(output.loss_sum, output.sample_size, {"loss": output.loss_sum})


def suite_of_criterion(criterion_class: type[Criterion]) -> CriterionContract:
    """The criterion suite, over this criterion instead of a registered one."""

    class Suite(CriterionContract):
        def build(self, *arguments: Any) -> Any:
            return criterion_class(CriterionConfig(), *arguments)

    return Suite()


@pytest.mark.parametrize(
    ("criterion_class", "test"),
    [
        (AveragedLoss, "test_the_sums_of_two_halves_add_up"),
        (CountsPadding, "test_padding_does_not_count"),
        (LogsWithGraph, "test_logs_are_scalars_without_a_gradient"),
    ],
)
def test_a_faulty_criterion_fails(criterion_class: type[Criterion], test: str) -> None:
    getattr(suite_of_criterion(SummedLoss), test)()
    with pytest.raises(AssertionError):
        getattr(suite_of_criterion(criterion_class), test)()


class FixedRate(torch.optim.SGD):
    """Steps at the rate that it was built with, whatever its groups say."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=0.01)


class DecaysEverything(torch.optim.SGD):
    """Applies one weight decay to all groups."""

    def __init__(self, groups: Any) -> None:
        super().__init__([parameter for group in groups for parameter in group["params"]], lr=0.01, weight_decay=0.1)


class KeepsMomentumOutside(torch.optim.SGD):
    """Has state that `state_dict` does not hold."""

    def __init__(self, groups: Any) -> None:
        super().__init__(groups, lr=0.01)
        self.num_steps = 0

    def step(self, closure: Any = None) -> Any:
        self.num_steps += 1
        for group in self.param_groups:
            group["lr"] = 0.01 / self.num_steps
        return super().step(closure)


def suite_of_optimizer(optimizer_class: Callable[[Any], torch.optim.Optimizer]) -> OptimizerContract:
    """The optimizer suite, over this optimizer instead of a registered one."""

    class Suite(OptimizerContract):
        def build(self, *arguments: Any) -> Any:
            return optimizer_class(*arguments)

    return Suite()


@pytest.mark.parametrize(
    ("optimizer_class", "test"),
    [
        (FixedRate, "test_a_rate_of_zero_moves_nothing"),
        (DecaysEverything, "test_only_groups_with_weight_decay_decay"),
        (KeepsMomentumOutside, "test_it_goes_on_from_its_state_to_the_same_bits"),
    ],
)
def test_a_faulty_optimizer_fails(optimizer_class: Callable[[Any], torch.optim.Optimizer], test: str) -> None:
    getattr(suite_of_optimizer(lambda groups: torch.optim.SGD(groups, lr=0.01)), test)()
    with pytest.raises(AssertionError):
        getattr(suite_of_optimizer(optimizer_class), test)()


class CountsItsCalls(LRScheduler):
    """Answers differently each time that it is asked."""

    def step_update(self, num_updates: int) -> float:
        self.lr *= 0.9
        return self.lr


class ForgetsItsState(LRScheduler):
    """Lowers the rate at each epoch, and saves nothing."""

    def step(self, epoch: int, valid_loss: float | None) -> float:
        self.lr *= 0.5
        return self.lr


class SetsTheRate(LRScheduler):
    """Does the training loop's work."""

    def step_update(self, num_updates: int) -> float:
        self.optimizer.param_groups[0]["lr"] = 0.0
        return self.lr


def suite_of_schedule(schedule_class: type[LRScheduler]) -> LRSchedulerContract:
    """The schedule suite, over this schedule instead of a registered one."""

    class Suite(LRSchedulerContract):
        def build(self, *arguments: Any) -> Any:
            return schedule_class(LRSchedulerConfig(), *arguments)

    return Suite()


@pytest.mark.parametrize(
    ("schedule_class", "test"),
    [
        (CountsItsCalls, "test_asking_twice_gives_the_same_rate"),
        (ForgetsItsState, "test_it_goes_on_from_its_state"),
        (SetsTheRate, "test_it_leaves_the_optimizer_alone"),
    ],
)
def test_a_faulty_schedule_fails(schedule_class: type[LRScheduler], test: str) -> None:
    getattr(suite_of_schedule(LRScheduler), test)()
    with pytest.raises(AssertionError):
        getattr(suite_of_schedule(schedule_class), test)()
