"""`batching.find_max_tokens`: config to a config with the number that was found, before anything is trained."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from seqtrain.assemble.components import Runtime, longest_positions
from seqtrain.assemble.recording import with_trial_recording
from seqtrain.config.root import BatchForm, Switch, TrainConfig
from seqtrain.errors import TrainingError

if TYPE_CHECKING:
    from seqtrain.tasks.base import Task
    from seqtrain.training.run_folder import RunPaths
    from seqtrain.training.step import Learner


def settle_max_tokens(config: TrainConfig, task: Task, runtime: Runtime, folder: RunPaths) -> TrainConfig:
    """The config to train with: where it asks for a search, this searches, on a learner that is thrown away.

    Nothing else is different afterwards: weights follow from the seed, and random numbers from each batch's. All
    processes call this. One that goes on with a run knows the number from its folder, and tells it to the others.

    Raises:
        TrainingError: Nothing fits, or the processes were started differently.
    """
    from seqtrain.training.found_tokens import record_max_tokens, with_max_tokens

    processes = runtime.processes
    wishes = processes.gather([config.batching.find_max_tokens, config.batching.max_tokens])
    is_sought, max_tokens = wishes[0]
    if is_sought and not all(other for other, _ in wishes):
        raise TrainingError(
            "batching.find_max_tokens is not the same in all processes", remedy="start all with the same command"
        )
    if is_sought:
        max_tokens = _find(config, task, runtime)
        if processes.is_first:
            record_max_tokens(folder.path, max_tokens)
    return with_max_tokens(config, max_tokens) if config.batching.find_max_tokens else config


def _find(config: TrainConfig, task: Task, runtime: Runtime) -> int:
    from seqtrain.data.dataset import IterationOptions
    from seqtrain.training.found_tokens import with_max_tokens
    from seqtrain.training.max_tokens import Trial, find_max_tokens
    from seqtrain.training.memory import make_meter

    learner = _alone(config, task, runtime)

    def learner_for(max_tokens: int) -> Learner:
        if runtime.processes.world_size > 1:  # `learner` has one, but the run records nothing
            return learner
        return with_trial_recording(with_max_tokens(config, max_tokens), learner)

    dataset = task.dataset("train")
    options = IterationOptions(
        batching=config.batching,
        max_positions=longest_positions(task, learner.module.model),
        packed=config.batching.form is BatchForm.packed,
    )
    trial = Trial(learner_for, dataset, options, update_freq=config.training.update_freq)
    num_sharing = int(os.environ.get("LOCAL_WORLD_SIZE", runtime.processes.world_size))
    return find_max_tokens(
        trial, make_meter(runtime.device, num_sharing), runtime.processes, dataset=dataset, options=options
    )


def _alone(config: TrainConfig, task: Task, runtime: Runtime) -> Learner:
    """A learner like that of the run, in one process, uncompiled, unrecorded, and with a loss scale of its own."""
    from seqtrain.assemble.trainer import build_learner
    from seqtrain.training.distributed import SingleProcess
    from seqtrain.training.precision import MixedPrecision

    precision = MixedPrecision(runtime.precision.dtype, runtime.device)
    config = replace(config, training=replace(config.training, compile=Switch.never, cuda_graphs=Switch.never))
    return build_learner(config, task, Runtime(runtime.device, precision, SingleProcess()))
