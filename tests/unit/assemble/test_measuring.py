"""What measures the speed of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seqtrain.assemble.measuring import find_utilization, with_profile
from seqtrain.config.root import TrainConfig, TrainingConfig
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.profile import Profile
from seqtrain.training.run_folder import RunPaths
from seqtrain.training.step import Learner
from tests.unit.training import tiny_run

PROFILED = TrainConfig(training=TrainingConfig(profile=True))


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    return tiny_run.make_trainer(tmp_path, tiny_run.config()).learner


def test_the_peak_of_a_cpu_is_measured_for_a_profile_alone(learner: Learner) -> None:
    assert find_utilization(TrainConfig(), learner) is None
    found = find_utilization(PROFILED, learner)
    assert found is not None
    assert found.peak > 0
    assert found.model is learner.module.model


def test_a_profile_listens_to_the_learner_and_to_its_traffic(learner: Learner, tmp_path: Path) -> None:
    profiled = with_profile(PROFILED, learner, RunPaths(tmp_path), None)
    assert isinstance(profiled.stopwatch, Profile)
    assert profiled.reduction.stopwatch is profiled.stopwatch
    assert with_profile(TrainConfig(), learner, RunPaths(tmp_path), None) is learner


class SecondOfTwo(SingleProcess):
    """A process that another one leads."""

    @property
    def is_first(self) -> bool:
        return False


def test_the_first_process_alone_measures(learner: Learner, tmp_path: Path) -> None:
    second = replace(learner, processes=SecondOfTwo())
    assert find_utilization(PROFILED, second) is None
    assert with_profile(PROFILED, second, RunPaths(tmp_path), None) is second
