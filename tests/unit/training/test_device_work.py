"""What an update asks of a GPU, seen without one: on the device `meta`, which has shapes and no numbers.

Wherever the host wants to know a number there, torch fails; every operator that is sent is counted.
"""

from __future__ import annotations

import math
from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seqtrain.data.batch import Batch
from seqtrain.optimizers.adam import AdamConfig
from seqtrain.optimizers.torch_adam import Adam
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.delivery import Courier
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.ema import ExponentialAverage
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.recording import CudaTape, RecordedPass
from seqtrain.training.reduction import LocalSum
from seqtrain.training.skipping import HostCopy
from seqtrain.training.step import Learner, UpdateOptions, run_update
from tests.unit.training.traced import make_batch, make_module, packed_batches

TASK = TinyTask(num_letters=20, num_examples=100)
META = torch.device("meta")
MOST_OPERATORS = {"padded": 381, "packed": 385}
"""Of one encoder and one decoder layer, forward and backward; with attention in its parts, as `meta` computes it."""


class Sent(TorchDispatchMode):
    """Counts operators, and those that take a tensor from one device to another."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch has no annotations there
        self.operators: Counter[str] = Counter()
        self.moves: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See `TorchDispatchMode`."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.operators[str(func)] += 1
        leaves = tree_leaves((args, kwargs, result))
        if len({leaf.device for leaf in leaves if isinstance(leaf, torch.Tensor)}) > 1:
            self.moves.append(str(func))
        return result


class StepsOnDevice(torch.optim.Optimizer):
    """p -= g, left out where `found_inf` says so, as torch's fused optimizers do it."""

    _step_supports_amp_scaling = True

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module.parameters(), {})
        for parameter in module.parameters():
            self.state[parameter]["step"] = torch.zeros((), device=META)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override] # nobody gives a closure
        """See `torch.optim.Optimizer`."""
        found_inf: torch.Tensor = self.found_inf  # type: ignore[attr-defined] # set by whoever looks at the gradient
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(parameter.grad * (1.0 - found_inf))


def make_learner(num_layers: int) -> Learner:
    module = make_module(TASK, dropout=0.1, num_layers=num_layers).to(META)
    return Learner(
        task=TASK,
        module=module,
        optimizer=StepsOnDevice(module),
        precision=MixedPrecision(torch.float32, META),
        reduction=LocalSum(module),
        processes=SingleProcess(),
        device=META,
        average=ExponentialAverage(module.model, 0.9),
    )


def make_batch_of(form: str) -> Batch:
    batch = make_batch(TASK, 8, (3, 9)) if form == "padded" else next(packed_batches(TASK, 64))
    return batch.to(META)


@pytest.mark.parametrize("form", ["padded", "packed"])
def test_the_host_waits_for_nothing_in_an_update(form: str) -> None:
    learner, batch = make_learner(1), make_batch_of(form)
    sums, total = MetricSums(), MetricSums()
    assert learner.average is not None
    with Sent() as sent:
        for update in range(1, 3):
            result = run_update(
                learner, [batch, batch], sums, options=UpdateOptions(clip_norm=1.0, seed=1), first_batch=(1, 2 * update)
            )
            learner.average.update(update, result.outcome.skipped)
    total.add_update(sums, left_out=result.outcome.is_bad)
    assert isinstance(result.outcome.skipped, torch.Tensor)
    assert sent.moves == []
    assert sent.operators


def test_the_device_would_have_told_if_the_host_had_waited() -> None:
    number = torch.zeros(3, device=META)
    with pytest.raises(RuntimeError, match="meta"):
        number.sum().item()
    with pytest.raises(NotImplementedError, match="meta"):
        number.nonzero()
    with pytest.raises(NotImplementedError, match="meta"):
        number[number > 0]
    with Sent() as sent:
        torch.zeros(3).to(META)
    assert len(sent.moves) == 1


def num_operators(form: str, num_layers: int) -> int:
    learner, batch = make_learner(num_layers), make_batch_of(form)
    with Sent() as sent:
        learner.task.train_step(batch, learner.module.model, learner.training_loss, learner.optimizer)
    return sum(sent.operators.values())


@pytest.mark.parametrize("form", ["padded", "packed"])
def test_a_layer_sends_no_more_operators_than_it_did(form: str) -> None:
    assert num_operators(form, 3) - num_operators(form, 2) <= MOST_OPERATORS[form]


@pytest.mark.gpu
@pytest.mark.parametrize("is_recorded", [False, True])
@pytest.mark.parametrize("form", ["padded", "packed"])
def test_the_host_waits_for_no_gpu_in_an_update(form: str, is_recorded: bool) -> None:
    if form == "padded" and is_recorded:
        pytest.skip("batches of one shape alone are recorded")
    device = torch.device("cuda")
    module = make_module(TASK, dropout=0.1).to(device)
    learner = Learner(
        task=TASK,
        module=module,
        optimizer=Adam(AdamConfig(), [{"params": list(module.parameters())}]),
        precision=MixedPrecision(torch.bfloat16, device),
        reduction=LocalSum(module),
        processes=SingleProcess(),
        device=device,
        average=ExponentialAverage(module.model, 0.9),
        recording=RecordedPass(module, CudaTape(device)) if is_recorded else None,
    )
    assert learner.average is not None
    host = make_batch(TASK, 8, (3, 9)) if form == "padded" else next(packed_batches(TASK, 64))
    updates, sums = [[host.pin_memory(), host.pin_memory()]] * 8, MetricSums()
    try:
        for number, delivery in enumerate(Courier(device, lambda _: nullcontext()).deliver(updates), start=1):
            options = UpdateOptions(clip_norm=1.0, seed=1)
            result = run_update(learner, delivery.on_device, sums, options=options, first_batch=(1, 2 * number))
            learner.average.update(number, result.outcome.skipped)
            HostCopy(result.outcome.is_bad)
            if number == 4:  # kernels are made, the optimizer has its state, the pass is recorded
                torch.cuda.set_sync_debug_mode("error")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(sums.read()["loss"])
