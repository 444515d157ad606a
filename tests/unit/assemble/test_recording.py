"""Which runs are recorded as CUDA graphs, and what those are told that ask for it and cannot have it."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from seqtrain.assemble.recording import with_recording, with_trial_recording
from seqtrain.config.root import BatchForm, Reduction, Switch, TrainBatchingConfig, TrainConfig, TrainingConfig
from seqtrain.criterions.base import LossOutput
from seqtrain.errors import ConfigError
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.reduction import LocalSum
from seqtrain.training.step import Learner
from tests.unit.training.traced import make_module

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class OwnStep(TinyTask):
    def train_step(self, *arguments: object) -> LossOutput:
        raise NotImplementedError


def make_learner(device: torch.device, task: TinyTask | None = None) -> Learner:
    """A learner that says it is on a device."""
    module = make_module(TinyTask(num_letters=20))
    return Learner(
        task=task or TinyTask(),
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=1.0),
        precision=MixedPrecision(torch.float32, CPU),
        reduction=LocalSum(module),
        processes=SingleProcess(),
        device=device,
    )


def config(wish: str, *, max_tokens: int = 4096, form: str = "packed", reduction: str = "sum") -> TrainConfig:
    return TrainConfig(
        task=TinyTask().config,
        batching=TrainBatchingConfig(form=BatchForm(form), max_tokens=max_tokens),
        training=TrainingConfig(cuda_graphs=Switch(wish), reduction=Reduction(reduction)),
    )


def reason(learner: Learner, config: TrainConfig) -> str:
    with pytest.raises(ConfigError) as raised:
        with_recording(config, learner)
    assert "training.cuda_graphs=always" in str(raised.value)
    return str(raised.value)


def test_a_cpu_records_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for wish in ("never", "auto"):
        assert with_recording(config(wish), make_learner(CPU)).recording is None
    assert "nothing is recorded, for there is no GPU" in caplog.text
    assert "there is no GPU" in reason(make_learner(CPU), config("always"))


def test_large_batches_are_recorded_only_if_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    learner = with_recording(config("auto", max_tokens=25_000), make_learner(CUDA))
    assert learner.recording is None
    assert "above 12288" in caplog.text


def test_what_stands_against_it_is_said() -> None:
    learner = make_learner(CUDA)
    assert "batching.form=packed" in reason(learner, config("always", form="padded"))
    assert "reduction=sum" in reason(learner, config("always", reduction="exact"))
    assert "step of its own" in reason(make_learner(CUDA, OwnStep()), config("always"))
    several = SingleProcess()
    several.world_size = 2
    assert "one process" in reason(replace(learner, processes=several), config("always"))


def test_a_trial_records_what_the_run_would_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    learner = make_learner(CUDA)
    for unwanted in (config("never"), config("auto", max_tokens=25_000), config("auto", form="padded")):
        assert with_trial_recording(unwanted, learner) is learner
    assert with_trial_recording(config("auto"), make_learner(CPU)).recording is None
    assert caplog.text == ""


@pytest.mark.gpu
@pytest.mark.parametrize("wish", ["auto", "always"])
def test_small_packed_batches_are_recorded(wish: str) -> None:
    assert with_recording(config(wish), make_learner(CUDA)).recording is not None
    assert with_trial_recording(config(wish), make_learner(CUDA)).recording is not None
