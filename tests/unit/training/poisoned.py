"""Runs with batches that make a layer's output, or its gradient alone, something that is no number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqtrain.config.root import CheckpointConfig, LoggingConfig, TrainBatchingConfig, TrainConfig, TrainingConfig
from seqtrain.config.root import ValidationConfig as Validation
from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.lr_schedulers.inverse_sqrt import InverseSqrt, InverseSqrtConfig
from seqtrain.testing.fakes import TinyModel, TinyTask
from seqtrain.training.distributed import Processes, SingleProcess
from seqtrain.training.keeper import CheckpointKeeper, KeepPolicy
from seqtrain.training.loop import Surroundings, Trainer
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.progress import Display
from seqtrain.training.randomness import seed_everything
from seqtrain.training.recorder import Outputs
from seqtrain.training.reduction import DataParallel, LocalSum
from seqtrain.training.saving import Saver
from seqtrain.training.signals import SharedStop, StopRequest
from seqtrain.training.step import Learner, TrainableModule

CPU = torch.device("cpu")
NONE, ALL = -1, -2  # instead of a token


class Fragile(torch.nn.Module):
    """Passes everything through, except of a batch with a source that begins with a certain token."""

    def __init__(self, token: int, *, forward_too: bool) -> None:
        super().__init__()
        self.token = token
        self.forward_too = forward_too
        self.is_broken = False

    def forward(self, hidden: Tensor) -> Tensor:
        if not self.is_broken:
            return hidden
        if self.forward_too:
            return hidden * torch.nan
        hidden = hidden.clone()
        hidden.register_hook(lambda gradient: gradient * torch.nan)
        return hidden


class FragileModel(TinyModel):
    """Has a layer that breaks, and dropout."""

    def __init__(self, task: TinyTask, fragile: Fragile) -> None:
        super().__init__(task)
        self.fragile = fragile

    def features(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        self.fragile.is_broken = self.fragile.token == ALL or self.fragile.token in source_tokens[:, 0].tolist()
        features = super().features(source_tokens, source_lengths, previous_tokens)
        hidden: Tensor = self.fragile(torch.nn.functional.dropout(features, 0.1, self.training))
        return hidden


class Rows:
    """Keeps rows."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def append(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)


@dataclass
class PoisonedRun:
    """A run in a folder, made anew at each start as a new process would.

    Attributes:
        token: Breaks the batches that have a source beginning with it; or NONE, or ALL.
        forward_too: Whether the loss is not finite either, or its gradient alone.
    """

    folder: Path
    token: int
    dtype: torch.dtype = torch.float32
    forward_too: bool = True
    max_updates: int = 24
    max_in_a_row: int | None = None
    processes: Processes | None = None

    def config(self) -> TrainConfig:
        return TrainConfig(
            training=TrainingConfig(
                max_updates=self.max_updates, clip_norm=1.0, max_nonfinite_updates=self.max_in_a_row
            ),
            batching=TrainBatchingConfig(max_tokens=24, required_batch_size_multiple=1, num_prefetch=0),
            validation=Validation(interval_epochs=None),
            checkpoint=CheckpointConfig(save_interval_updates=3, save_interval_epochs=None),
            logging=LoggingConfig(interval_updates=4),
        )

    def trainer(self) -> tuple[Trainer, Rows]:
        """The trainer, where the folder's newest checkpoint left it."""
        config, rows = self.config(), Rows()
        processes = self.processes or SingleProcess()
        seed_everything(1, "initial weights")
        task = TinyTask(num_examples=60)
        model = FragileModel(task, Fragile(self.token, forward_too=self.forward_too))
        module = TrainableModule(model, CrossEntropy(CrossEntropyConfig(), task))
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
        single = processes.world_size == 1
        learner = Learner(
            task=task,
            module=module,
            optimizer=optimizer,
            precision=MixedPrecision(self.dtype, CPU),
            reduction=LocalSum(module) if single else DataParallel(module, find_unused_parameters=False),
            processes=processes,
            device=CPU,
        )
        keeper = CheckpointKeeper(self.folder / "checkpoints", KeepPolicy(2, 0, maximize=False))
        trainer = Trainer(
            config,
            Saver(learner, InverseSqrt(InverseSqrtConfig(warmup_updates=4), optimizer), keeper, config_yaml=""),
            Surroundings(Outputs([rows], Display()), SharedStop(StopRequest(), processes), None),
            max_positions=(100, 100),
        )
        trainer.state.micro_batches_per_update = processes.world_size
        if processes.is_first and (newest := keeper.newest_intact()) is not None:
            trainer.resume(newest)
        return trainer, rows

    def start(self) -> tuple[Trainer, Rows]:
        """Train to the end."""
        trainer, rows = self.trainer()
        trainer.fit()
        return trainer, rows
