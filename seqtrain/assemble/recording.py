"""Config to CUDA graphs: whether they can be had, and whether they pay."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from seqtrain.config.root import BatchForm, Reduction, Switch, TrainConfig
from seqtrain.errors import ConfigError

if TYPE_CHECKING:
    from seqtrain.training.step import Learner

logger = logging.getLogger(__name__)

_MOST_TOKENS = 12_288  # of a batch; above, sending its kernels takes the host less time than the GPU needs for them


def with_recording(config: TrainConfig, learner: Learner) -> Learner:
    """The learner, which repeats a recorded pass where the config asks for it.

    Raises:
        ConfigError: It is asked for and cannot be had.
    """
    wish = config.training.cuda_graphs
    if wish is Switch.never:
        return learner
    reason = _why_not(config, learner)
    if reason is not None and wish is Switch.always:
        raise ConfigError(f"training.cuda_graphs=always: {reason}", remedy="leave training.cuda_graphs=never")
    if reason is not None and learner.processes.is_first:
        logger.info("training.cuda_graphs=auto: nothing is recorded, for %s", reason)
    return learner if reason is not None else _recorded(learner)


def with_trial_recording(config: TrainConfig, learner: Learner) -> Learner:
    """The learner as a run of this config would have it, with a recording for one trial; nothing is said of it."""
    is_wanted = config.training.cuda_graphs is not Switch.never and _why_not(config, learner) is None
    return _recorded(learner) if is_wanted else learner


def _recorded(learner: Learner) -> Learner:
    from seqtrain.training.recording import CudaTape, RecordedPass

    return replace(learner, recording=RecordedPass(learner.module, CudaTape(learner.device)))


def _why_not(config: TrainConfig, learner: Learner) -> str | None:
    """What stands against recording, in words."""
    reason = _why_it_cannot(config, learner)
    if reason is not None or config.training.cuda_graphs is not Switch.auto:
        return reason
    is_large = (config.batching.max_tokens or 0) > _MOST_TOKENS
    return f"batching.max_tokens is above {_MOST_TOKENS}: a GPU has enough to do" if is_large else None


def _why_it_cannot(config: TrainConfig, learner: Learner) -> str | None:
    from seqtrain.tasks.base import Task

    if learner.device.type != "cuda":
        return "there is no GPU"
    if config.batching.form is not BatchForm.packed:
        return "it takes batches of one shape: batching.form=packed"
    if learner.processes.world_size > 1:
        return "it takes one process"
    if learner.precision.is_scaled:
        return "it takes a precision other than fp16, whose scale changes"
    if config.training.reduction is Reduction.exact:
        return "it takes training.reduction=sum"
    if type(learner.task).train_step is not Task.train_step:
        return f"the task {config.task._name} has a training step of its own"
    return None
