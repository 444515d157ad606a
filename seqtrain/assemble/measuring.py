"""Config to what measures the speed of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from seqtrain.config.root import TrainConfig

if TYPE_CHECKING:
    from seqtrain.training.run_folder import RunPaths
    from seqtrain.training.step import Learner
    from seqtrain.training.utilization import Utilization


def find_utilization(config: TrainConfig, learner: Learner) -> Utilization | None:
    """The model and the peak of the machine: a GPU's from a table; a CPU's is measured, where a profile is wanted."""
    import torch

    from seqtrain.training.utilization import Utilization, known_peak, measured_peak

    dtype = learner.precision.dtype
    if learner.device.type == "cuda":
        peak = known_peak(torch.cuda.get_device_name(learner.device), dtype)
    else:
        peak = measured_peak(dtype) if config.training.profile and learner.processes.is_first else None
    return None if peak is None else Utilization(learner.module.model, peak)


def with_profile(config: TrainConfig, learner: Learner, folder: RunPaths, utilization: Utilization | None) -> Learner:
    """The learner, which the first process profiles where that is wanted."""
    from seqtrain.training.profile import Profile

    if not config.training.profile or not learner.processes.is_first:
        return learner
    stopwatch = Profile(folder.profile, learner.device, utilization=utilization)
    learner.reduction.stopwatch = stopwatch
    return replace(learner, stopwatch=stopwatch)
