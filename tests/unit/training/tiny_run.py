"""A run of a tiny model on a tiny task, put together by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from seqtrain.config.check import to_yaml
from seqtrain.config.root import CheckpointConfig, TrainBatchingConfig, TrainConfig, TrainingConfig, ValidationConfig
from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.lr_schedulers.inverse_sqrt import InverseSqrt, InverseSqrtConfig
from seqtrain.optimizers.adam import AdamConfig
from seqtrain.testing.fakes import TinyModel, TinyTask
from seqtrain.training.background import CheckpointWriter
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.ema import ExponentialAverage
from seqtrain.training.keeper import CheckpointKeeper, KeepPolicy
from seqtrain.training.loop import Surroundings, Trainer
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.progress import Display
from seqtrain.training.recorder import Outputs
from seqtrain.training.reduction import LocalSum
from seqtrain.training.saving import Saver
from seqtrain.training.signals import SharedStop, StopRequest
from seqtrain.training.step import Learner, TrainableModule
from seqtrain.training.validation import Validator

CPU = torch.device("cpu")


def config(*, validation: ValidationConfig | None = None, **checkpoint: Any) -> TrainConfig:
    """Ten updates, saved after five."""
    return TrainConfig(
        task={"_name": "tiny"},
        model={"_name": "tiny"},
        criterion={"_name": "cross_entropy"},
        optimizer=AdamConfig(lr=0.5),
        lr_scheduler=InverseSqrtConfig(warmup_updates=4),
        training=TrainingConfig(max_updates=10, ema_decay=0.5),
        batching=TrainBatchingConfig(max_tokens=24, required_batch_size_multiple=1),
        validation=validation or ValidationConfig(),
        checkpoint=CheckpointConfig(**{"save_interval_updates": 5, "save_interval_epochs": None, **checkpoint}),
    )


@dataclass(frozen=True)
class Pieces:
    """What a test may want of its own.

    Attributes:
        writer: Of the checkpoints.
        task: The data, and what is saved beside the weights.
        validator: None does not validate.
    """

    writer: CheckpointWriter = field(default_factory=CheckpointWriter)
    task: TinyTask = field(default_factory=lambda: TinyTask(num_examples=40))
    validator: Validator | None = None


def make_trainer(folder: Path, config: TrainConfig, pieces: Pieces | None = None) -> Trainer:
    """The trainer of a run whose checkpoints are in a folder; the weights are always the same."""
    pieces = pieces or Pieces()
    torch.manual_seed(1)
    module = TrainableModule(TinyModel(pieces.task), CrossEntropy(CrossEntropyConfig(), pieces.task))
    optimizer = torch.optim.Adam(module.parameters(), lr=config.optimizer.lr)
    processes, decay, checkpoint = SingleProcess(), config.training.ema_decay, config.checkpoint
    learner = Learner(
        task=pieces.task,
        module=module,
        optimizer=optimizer,
        precision=MixedPrecision(torch.float32, CPU),
        reduction=LocalSum(module),
        processes=processes,
        device=CPU,
        average=None if decay is None else ExponentialAverage(module.model, decay),
    )
    policy = KeepPolicy(checkpoint.keep_last, checkpoint.keep_best, maximize=config.validation.maximize)
    schedule = InverseSqrt(config.lr_scheduler, optimizer)
    saver = Saver(learner, schedule, CheckpointKeeper(folder, policy), to_yaml(config), pieces.writer)
    surroundings = Surroundings(Outputs([], Display()), SharedStop(StopRequest(), processes), pieces.validator)
    trainer = Trainer(config, saver, surroundings, max_positions=(100, 100))
    trainer.state.data_fingerprint = "these data"
    return trainer
