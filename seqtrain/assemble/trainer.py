"""Config and run folder to a trainer, at the point where the run was left."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from seqtrain.assemble.components import (
    Runtime,
    build_criterion,
    build_decoder,
    build_lr_scheduler,
    build_model,
    build_optimizer,
    build_task,
    longest_positions,
    prepare_runtime,
)
from seqtrain.config.check import to_yaml
from seqtrain.config.root import TrainConfig
from seqtrain.errors import CheckpointError
from seqtrain.files import write_text_atomically

if TYPE_CHECKING:
    from seqtrain.tasks.base import Task
    from seqtrain.training.keeper import CheckpointKeeper
    from seqtrain.training.loop import RowWriter, Trainer
    from seqtrain.training.run_folder import RunFolder
    from seqtrain.training.signals import StopRequest
    from seqtrain.training.step import Learner
    from seqtrain.training.validation import Validator

logger = logging.getLogger(__name__)


def build_learner(config: TrainConfig, task: Task, runtime: Runtime) -> Learner:
    """All that takes part in an update; the weights follow from training.seed alone."""
    from seqtrain.training.distributed import SingleProcess
    from seqtrain.training.randomness import seed_everything
    from seqtrain.training.step import Learner, TrainableModule

    seed_everything(config.training.seed, "initial weights")
    model = build_model(config.model, task)
    module = TrainableModule(model, build_criterion(config.criterion, task)).to(runtime.device)
    return Learner(
        task=task,
        module=module,
        optimizer=build_optimizer(config.optimizer, module),
        precision=runtime.precision,
        processes=SingleProcess(),
        device=runtime.device,
    )


def build_trainer(config: TrainConfig, folder: RunFolder, stop: StopRequest) -> Trainer:
    """The trainer of a run folder, at the point where the run was left, or at its beginning.

    Raises:
        DataError: The data is missing or malformed.
        CheckpointError: The run's checkpoints are damaged, or belong to another model or other data.
    """
    from seqtrain.training.loop import Surroundings, Trainer
    from seqtrain.training.metrics import MetricsFile
    from seqtrain.training.progress import make_display

    runtime = prepare_runtime(config.training)
    task = build_task(config.task)
    task.setup()
    learner = build_learner(config, task, runtime)
    lr_scheduler = build_lr_scheduler(config.lr_scheduler, learner.optimizer)
    metrics = MetricsFile(folder.metrics)
    trainer = Trainer(
        config,
        learner,
        lr_scheduler,
        surroundings=Surroundings(
            keeper=_keeper(config, folder),
            writers=[metrics, *_tensorboard(config, folder)],
            display=make_display(config.logging.progress, config.training.max_updates),
            stop=stop,
            validator=_validator(config, learner, stop),
            config_yaml=to_yaml(config),
        ),
        max_positions=longest_positions(task, learner.module.model),
    )
    _describe(learner, folder)
    _restore(trainer, config)
    metrics.rewind(trainer.state)
    return trainer


def _keeper(config: TrainConfig, folder: RunFolder) -> CheckpointKeeper:
    from seqtrain.training.keeper import CheckpointKeeper, KeepPolicy

    policy = KeepPolicy(config.checkpoint.keep_last, config.checkpoint.keep_best, config.validation.maximize)
    return CheckpointKeeper(folder.checkpoints, policy)


def _validator(config: TrainConfig, learner: Learner, stop: StopRequest) -> Validator | None:
    from seqtrain.training.validation import Validator

    if config.validation.interval_updates is None and config.validation.interval_epochs is None:
        return None
    decode = None
    if config.validation.generate:
        decode = build_decoder(learner, config.generation, config.batching, must_stop=lambda: bool(stop))
    return Validator(
        losses=learner,
        batching=config.batching,
        max_positions=longest_positions(learner.task, learner.module.model),
        decode=decode,
        num_examples_shown=config.validation.num_examples_shown,
        must_stop=lambda: bool(stop),
    )


def _tensorboard(config: TrainConfig, folder: RunFolder) -> list[RowWriter]:
    if not config.logging.tensorboard:
        return []
    from seqtrain.training.tensorboard import TensorBoardWriter

    return [TensorBoardWriter(folder.path / "tensorboard")]


def _describe(learner: Learner, folder: RunFolder) -> None:
    """Log what is trained, and write environment.json; say so if a resumed run was begun elsewhere."""
    from seqtrain.training.environment import describe_environment, exactness_notes

    fingerprint = learner.task.dataset("train").fingerprint
    num_parameters = sum(parameter.numel() for parameter in learner.module.parameters())
    environment = {**describe_environment(learner.device, learner.precision), "data": {"train": fingerprint}}
    logger.info(
        "%s with %s parameters on %s in %s, %d threads",
        type(learner.module.model).__name__,
        f"{num_parameters:,}",
        environment["device"],
        environment["precision"],
        environment["num_threads"],
    )
    path = folder.path / "environment.json"
    if path.exists():
        for note in exactness_notes(json.loads(path.read_text(encoding="utf-8")), environment):
            logger.warning("the run goes on, but not exactly to the bit: %s", note)
    write_text_atomically(path, json.dumps(environment, indent=1) + "\n")


def _restore(trainer: Trainer, config: TrainConfig) -> None:
    """Go on from the run's newest intact checkpoint, else start from other weights where the config names some."""
    from seqtrain.training.checkpoint import Checkpoint
    from seqtrain.training.weights import load_named_tensors

    fingerprint = trainer.learner.task.dataset("train").fingerprint
    checkpoint = trainer.surroundings.keeper.newest_intact()
    if checkpoint is not None:
        trainer.resume(checkpoint)
        logger.info("resumed from %s", checkpoint.folder)
        if trainer.state.data_fingerprint != fingerprint:
            raise CheckpointError(
                f"the training data of task.data={config.task.data} is not what the run in "
                f"{checkpoint.folder.parents[1]} was trained on",
                remedy="give the data of that run, or start in another folder: hydra.run.dir=FOLDER",
            )
        return
    trainer.state.data_fingerprint = fingerprint
    trainer.state.micro_batches_per_update = config.training.update_freq * trainer.learner.processes.world_size
    if config.checkpoint.finetune_from is not None:
        other = Checkpoint(Path(config.checkpoint.finetune_from))
        load_named_tensors(trainer.learner.module.model, other.model, origin=str(other.folder))
        logger.info("started from the weights of %s", other.folder)
