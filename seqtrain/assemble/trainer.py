"""Config and run folder to a trainer, at the point where the run was left."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import seqtrain
from seqtrain.assemble.attention import settle_attention
from seqtrain.assemble.compiling import settle_compilation
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
from seqtrain.assemble.max_tokens import settle_max_tokens
from seqtrain.assemble.measuring import find_utilization, with_profile
from seqtrain.assemble.recording import with_recording
from seqtrain.config.check import to_yaml
from seqtrain.config.root import Reduction, Strategy, TrainConfig
from seqtrain.config.versions import with_version
from seqtrain.errors import CheckpointError, ConfigError
from seqtrain.files import write_text_atomically

if TYPE_CHECKING:
    from seqtrain.models.base import Model
    from seqtrain.tasks.base import Task
    from seqtrain.training.background import CheckpointWriter
    from seqtrain.training.checkpoint import Checkpoint
    from seqtrain.training.distributed import Processes
    from seqtrain.training.ema import ExponentialAverage
    from seqtrain.training.keeper import CheckpointKeeper
    from seqtrain.training.loop import Trainer
    from seqtrain.training.recorder import Outputs, RowWriter
    from seqtrain.training.reduction import GradientReduction
    from seqtrain.training.run_folder import RunPaths
    from seqtrain.training.signals import SharedStop, StopRequest
    from seqtrain.training.step import Learner, TrainableModule
    from seqtrain.training.validation import Validator

logger = logging.getLogger(__name__)


def build_learner(config: TrainConfig, task: Task, runtime: Runtime) -> Learner:
    """All that takes part in an update; the weights follow from training.seed alone."""
    from seqtrain.training.randomness import seed_everything
    from seqtrain.training.step import Learner, TrainableModule

    seed_everything(config.training.seed, "initial weights")
    model = build_model(config.model, task)
    module = TrainableModule(model, build_criterion(config.criterion, task))
    settle_attention(config, task, model, runtime)
    settle_compilation(config, module, runtime)
    reduction = _place(config, task, module, runtime)  # sharding makes other parameters of them: the optimizer is next
    learner = Learner(
        task=task,
        module=module,
        optimizer=build_optimizer(config.optimizer, module),
        precision=runtime.precision,
        reduction=reduction,
        processes=runtime.processes,
        device=runtime.device,
        average=_average(config, model),
    )
    return with_recording(config, learner)


def _average(config: TrainConfig, model: Model) -> ExponentialAverage | None:
    from seqtrain.training.ema import ExponentialAverage

    decay = config.training.ema_decay
    return None if decay is None else ExponentialAverage(model, decay)


def _place(config: TrainConfig, task: Task, module: TrainableModule, runtime: Runtime) -> GradientReduction:
    """Bring a module to the device; what adds its gradients up."""
    from seqtrain.tasks.base import Task
    from seqtrain.training.reduction import AfterBackward, DataParallel, ExactSum, LocalSum

    processes = runtime.processes
    if config.distributed.strategy is Strategy.fsdp and processes.world_size > 1:
        from seqtrain.training.fully_sharded import FullySharded

        return FullySharded(module, processes, runtime.device)
    module.to(runtime.device)
    if config.training.reduction is Reduction.exact:
        return ExactSum(module, processes)
    if processes.world_size == 1:
        return LocalSum(module)
    if type(task).train_step is not Task.train_step:
        return AfterBackward(module)
    return DataParallel(module, find_unused_parameters=config.distributed.find_unused_parameters)


def build_trainer(config: TrainConfig, run_dir: Path | None, stop: StopRequest) -> Trainer:
    """The trainer of a run folder, at the point where the run was left, or at its beginning.

    Args:
        config: The whole config.
        run_dir: The run folder, which is this process's own; the first process tells it to the others, who have None.
        stop: Whether a signal asked this process for an end.

    Raises:
        DataError: The data is missing or malformed.
        CheckpointError: The run's checkpoints are damaged, or belong to another model or other data.
        TrainingError: The processes of the run differ in what must be the same.
    """
    from seqtrain.training.loop import Surroundings, Trainer
    from seqtrain.training.rows import rewind
    from seqtrain.training.run_folder import RunPaths
    from seqtrain.training.saving import Saver
    from seqtrain.training.signals import SharedStop

    runtime = prepare_runtime(config.training, config.distributed)
    processes = runtime.processes
    folder = RunPaths(Path(processes.from_first(str(run_dir))))
    task = build_task(config.task)
    processes.first_then_others(lambda: _read_data(task))
    config = settle_max_tokens(config, task, runtime, folder)
    learner = build_learner(config, task, runtime)
    _require_same(config, learner)
    utilization = find_utilization(config, learner)
    learner = with_profile(config, learner, folder, utilization)
    shared_stop = SharedStop(stop, processes)
    lr_scheduler = build_lr_scheduler(config.lr_scheduler, learner.optimizer)
    trainer = Trainer(
        config,
        Saver(learner, lr_scheduler, _keeper(config, folder), with_version(to_yaml(config)), _writer(config)),
        Surroundings(
            outputs=replace(_outputs(config, folder, processes), utilization=utilization),
            stop=shared_stop,
            validator=_validator(config, learner, stop=stop, shared_stop=shared_stop),
        ),
        max_positions=longest_positions(task, learner.module.model),
    )
    if processes.is_first:
        _describe(learner, folder)
    _restore(trainer, config)
    if processes.is_first:
        rewind(folder, trainer.state)
    return trainer


def _read_data(task: Task) -> None:
    task.setup()
    task.dataset("train")


def _require_same(config: TrainConfig, learner: Learner) -> None:
    """Compare the processes of a run, which else would wait for one another in vain or learn different things."""
    from seqtrain.data.files import digest
    from seqtrain.training.distributed import require_same

    task, shapes = learner.task, [(name, *value.shape) for name, value in learner.module.named_parameters()]
    require_same(
        learner.processes,
        {
            "config": digest(to_yaml(config)),
            "vocabulary": digest(
                *(side and side.fingerprint for side in (task.source_vocabulary, task.target_vocabulary))
            ),
            "text in task.data": task.dataset("train").fingerprint,
            "model": digest(str(shapes)),
            "version of seqtrain": seqtrain.__version__,
            "version of torch": version("torch"),
            "number format": str(learner.precision.dtype),
        },
    )


def _keeper(config: TrainConfig, folder: RunPaths) -> CheckpointKeeper:
    from seqtrain.training.keeper import CheckpointKeeper, KeepPolicy

    checkpoint = config.checkpoint
    policy = KeepPolicy(
        checkpoint.keep_last, checkpoint.keep_best, config.validation.maximize, checkpoint.keep_every_updates
    )
    return CheckpointKeeper(folder.checkpoints, policy)


def _writer(config: TrainConfig) -> CheckpointWriter:
    from seqtrain.training.background import BackgroundWriter, CheckpointWriter

    return BackgroundWriter() if config.checkpoint.save_in_background else CheckpointWriter()


def _validator(
    config: TrainConfig, learner: Learner, *, stop: StopRequest, shared_stop: SharedStop
) -> Validator | None:
    from seqtrain.training.validation import Validator

    if config.validation.interval_updates is None and config.validation.interval_epochs is None:
        return None
    decode = None
    if config.validation.generate:
        decode = build_decoder(
            learner,
            config.generation,
            config.batching,
            processes=learner.processes,
            must_stop=lambda: bool(stop),
        )

    def must_stop() -> bool:
        shared_stop.agree()
        return bool(shared_stop)

    return Validator(
        losses=learner,
        processes=learner.processes,
        batching=config.batching,
        max_positions=longest_positions(learner.task, learner.module.model),
        decode=decode,
        num_examples_shown=config.validation.num_examples_shown,
        must_stop=must_stop,
    )


def _outputs(config: TrainConfig, folder: RunPaths, processes: Processes) -> Outputs:
    """Where measures go: files and screen are the first process's."""
    from seqtrain.training.progress import Display, make_display
    from seqtrain.training.recorder import Outputs
    from seqtrain.training.rows import RowsFile

    batch_writer = RowsFile(folder.batches) if config.logging.batches else None
    if not processes.is_first:
        return Outputs([], Display(), batch_writer)
    display = make_display(config.logging.progress, config.training.max_updates)
    return Outputs([RowsFile(folder.metrics), *_tensorboard(config, folder)], display, batch_writer)


def _tensorboard(config: TrainConfig, folder: RunPaths) -> list[RowWriter]:
    if not config.logging.tensorboard:
        return []
    from seqtrain.training.tensorboard import TensorBoardWriter

    return [TensorBoardWriter(folder.path / "tensorboard")]


def _describe(learner: Learner, folder: RunPaths) -> None:
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
    from seqtrain.assemble.changed import resume_with_changes
    from seqtrain.training.checkpoint import Checkpoint
    from seqtrain.training.starting import start_from

    learner = trainer.learner
    fingerprint = learner.task.dataset("train").fingerprint
    checkpoint = _newest_checkpoint(trainer.saver.keeper, learner.processes)
    if checkpoint is not None:
        resume_with_changes(trainer, checkpoint, config)
        if learner.processes.is_first:
            logger.info("resumed from %s", checkpoint.folder)
        if trainer.state.data_fingerprint != fingerprint:
            raise CheckpointError(
                f"the training data of task.data={config.task.data} is not what the run in "
                f"{checkpoint.folder.parents[1]} was trained on",
                remedy="give the data of that run, or start in another folder: hydra.run.dir=FOLDER",
            )
        _divide_update(trainer.state.micro_batches_per_update, config.training.update_freq, learner.processes)
        return
    trainer.state.data_fingerprint = fingerprint
    trainer.state.micro_batches_per_update = config.training.update_freq * learner.processes.world_size
    if config.checkpoint.finetune_from is not None:
        other = Checkpoint(Path(config.checkpoint.finetune_from))
        start_from(trainer, other)
        _divide_update(trainer.state.micro_batches_per_update, config.training.update_freq, learner.processes)
        if learner.processes.is_first:
            logger.info("started from %s", other.folder)


def _newest_checkpoint(keeper: CheckpointKeeper, processes: Processes) -> Checkpoint | None:
    """The checkpoint to resume from: the first process chooses, and the others read what it chose."""
    from seqtrain.training.checkpoint import Checkpoint

    chosen = keeper.newest_intact() if processes.is_first else None
    path = processes.from_first(None if chosen is None else str(chosen.folder))
    return chosen if path is None or processes.is_first else Checkpoint(Path(path))


def _divide_update(micro_batches: int, update_freq: int, processes: Processes) -> None:
    """Check that the run's micro-batches can be dealt to the processes, and say so if that changes update_freq.

    Raises:
        ConfigError: The number of processes does not divide them.
    """
    world_size = processes.world_size
    if micro_batches % world_size:
        divisors = ", ".join(str(number) for number in range(1, micro_batches + 1) if micro_batches % number == 0)
        raise ConfigError(
            f"an update of this run is made of {micro_batches} micro-batches: {world_size} processes cannot share them",
            remedy=f"start it with another number of processes: {divisors}",
        )
    if micro_batches != update_freq * world_size and processes.is_first:
        logger.warning(
            "an update of this run is made of %d micro-batches: with %d process%s, training.update_freq is %d, not %d",
            micro_batches,
            world_size,
            "" if world_size == 1 else "es",
            micro_batches // world_size,
            update_freq,
        )
