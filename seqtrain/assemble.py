"""Config to objects: the only file that knows all kinds, the trainer and the generators.

Nothing heavy is imported at the top: the commands import this file before they know whether they need torch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqtrain.config import PluginConfig, registry
from seqtrain.config.check import to_yaml
from seqtrain.config.root import BatchingConfig, GenerationConfig, RuntimeConfig, TrainConfig
from seqtrain.errors import CheckpointError
from seqtrain.files import write_text_atomically

if TYPE_CHECKING:
    import torch
    from torch import nn

    from seqtrain.criterions.base import Criterion
    from seqtrain.generation.text import TextGenerator
    from seqtrain.lr_schedulers.base import LRScheduler
    from seqtrain.models.base import Model
    from seqtrain.optimizers.base import OptimizerConfig
    from seqtrain.tasks.base import Task
    from seqtrain.training.keeper import CheckpointKeeper
    from seqtrain.training.loop import RowWriter, Trainer
    from seqtrain.training.precision import MixedPrecision
    from seqtrain.training.run_folder import RunFolder
    from seqtrain.training.signals import StopRequest
    from seqtrain.training.step import Learner, LossFunction
    from seqtrain.training.validation import Validator

logger = logging.getLogger(__name__)


# The five kinds


def _build(kind: str, config: PluginConfig, *arguments: Any) -> Any:
    return registry.get(kind, config._name).load()(config, *arguments)


def build_task(config: PluginConfig) -> Task:
    """The task of a config; it has read nothing yet."""
    task: Task = _build("task", config)
    return task


def build_model(config: PluginConfig, task: Task) -> Model:
    """The model of a config, with fresh weights, on the CPU."""
    model: Model = _build("model", config, task)
    return model


def build_criterion(config: PluginConfig, task: Task) -> Criterion:
    """The criterion of a config."""
    criterion: Criterion = _build("criterion", config, task)
    return criterion


def build_optimizer(config: OptimizerConfig, module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a config, over a module's parameters in two groups: with weight decay and without."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decays = not any(fnmatch(name, pattern) for pattern in config.no_weight_decay)
            groups[decays].append(parameter)
    parameters = [
        {"params": members, "weight_decay": config.weight_decay if decays else 0.0}
        for decays, members in groups.items()
        if members
    ]
    optimizer: torch.optim.Optimizer = _build("optimizer", config, parameters)
    return optimizer


def build_lr_scheduler(config: PluginConfig, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """The learning-rate schedule of a config."""
    lr_scheduler: LRScheduler = _build("lr_scheduler", config, optimizer)
    return lr_scheduler


# Training


def longest_positions(task: Task, model: Model) -> tuple[int, int]:
    """The longest source and target that task and model take, in tokens, the end symbol included."""
    limits = zip(task.max_positions, model.max_positions, strict=True)
    source, target = (min(pair) for pair in limits)
    return source, target


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
    metrics.rewind(trainer.state.num_updates)
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
        decode = _decoder(learner, config.generation, config.batching, must_stop=lambda: bool(stop))
    return Validator(
        losses=learner,
        batching=config.batching,
        max_positions=longest_positions(learner.task, learner.module.model),
        decode=decode,
        num_examples_shown=config.validation.num_examples_shown,
        must_stop=lambda: bool(stop),
    )


def _decoder(
    losses: LossFunction,
    generation: GenerationConfig,
    batching: BatchingConfig,
    *,
    must_stop: Callable[[], bool] = lambda: False,
) -> Callable[[str], list[str]]:
    """A function that decodes a split with the model as it then is."""
    from seqtrain.training.validation import StoppableDataset

    def decode(split: str) -> list[str]:
        from seqtrain.generation.text import TextGenerator

        generator = TextGenerator(
            losses.task,
            [losses.module.model],
            generation=generation,
            batching=batching,
            device=losses.device,
            autocast=losses.precision.autocast,
        )
        dataset = StoppableDataset(losses.task.dataset(split), must_stop)
        return [hypotheses[0].text for hypotheses in generator.generate_dataset(dataset)]

    return decode


def _tensorboard(config: TrainConfig, folder: RunFolder) -> list[RowWriter]:
    if not config.logging.tensorboard:
        return []
    from seqtrain.training.tensorboard import TensorBoardWriter

    return [TensorBoardWriter(folder.path / "tensorboard")]


def _describe(learner: Learner, folder: RunFolder) -> None:
    """Log what is trained, and write environment.json; say so if a resumed run was begun elsewhere."""
    from seqtrain.training.environment import describe_environment, exactness_notes

    num_parameters = sum(parameter.numel() for parameter in learner.module.parameters())
    environment = describe_environment(learner.device, learner.precision)
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


# The machine


@dataclass(frozen=True)
class Runtime:
    """Where and in which number format models run."""

    device: torch.device
    precision: MixedPrecision


def prepare_runtime(config: RuntimeConfig) -> Runtime:
    """Set the process up (threads, allocator, exactness) and choose device and number format."""
    from seqtrain.training.precision import MixedPrecision, resolve_device, resolve_dtype
    from seqtrain.training.runtime import prepare_process

    prepare_process(config.num_threads, config.deterministic)
    device = resolve_device(config.device)
    return Runtime(device, MixedPrecision(resolve_dtype(config.precision, device), device))


# Trained models


def load_trained(folder: Path) -> tuple[TrainConfig, Task, Model]:
    """Take config, task and model from a checkpoint folder, verified; the model is on the CPU, in evaluation mode.

    Raises:
        CheckpointError: The folder is missing, damaged, or does not fit this version of seqtrain.
    """
    from seqtrain.config.check import from_yaml, typed
    from seqtrain.training.checkpoint import Checkpoint
    from seqtrain.training.weights import load_named_tensors

    checkpoint = Checkpoint(folder)
    config = typed(TrainConfig, from_yaml(checkpoint.config))
    task = build_task(config.task)
    task.load_assets(checkpoint.folder)
    model = build_model(config.model, task)
    load_named_tensors(model, checkpoint.model, origin=str(checkpoint.folder))
    return config, task, model.eval()


def load_generator(
    folders: Sequence[Path],
    *,
    generation: GenerationConfig,
    batching: BatchingConfig,
    runtime: RuntimeConfig,
    data: str | None = None,
) -> TextGenerator:
    """What writes with trained models.

    Args:
        folders: Checkpoint folders; several are decoded as an ensemble and must share their vocabularies.
        generation: How to search.
        batching: The limits of a batch.
        runtime: The machine.
        data: The folder of the text, instead of the one that the first model was trained on.

    Raises:
        CheckpointError: A folder is missing or damaged, or the vocabularies differ.
    """
    from seqtrain.generation.text import TextGenerator

    machine = prepare_runtime(runtime)
    config, task, model = load_trained(folders[0])
    models = [model]
    for folder in folders[1:]:
        _, other_task, other_model = load_trained(folder)
        _require_same_vocabularies(task, other_task, folders[0], folder)
        models.append(other_model)
    if data is not None:
        config.task.data = data
    return TextGenerator(
        task,
        [model.to(machine.device) for model in models],
        generation=generation,
        batching=batching,
        device=machine.device,
        autocast=machine.precision.autocast,
    )


def load_evaluator(
    folder: Path,
    *,
    generation: GenerationConfig | None,
    batching: BatchingConfig,
    runtime: RuntimeConfig,
    data: str | None = None,
) -> Validator:
    """What measures a trained model on a split.

    Args:
        folder: A checkpoint folder.
        generation: How to decode for the task's measures of text; None measures losses alone.
        batching: The limits of a batch.
        runtime: The machine.
        data: The folder of the text, instead of the one that the model was trained on.

    Raises:
        CheckpointError: The folder is missing or damaged.
    """
    from seqtrain.training.step import LossFunction, TrainableModule
    from seqtrain.training.validation import Validator

    machine = prepare_runtime(runtime)
    config, task, model = load_trained(folder)
    if data is not None:
        config.task.data = data
    criterion = build_criterion(config.criterion, task)
    module = TrainableModule(model, criterion).to(machine.device)
    losses = LossFunction(task=task, module=module, precision=machine.precision, device=machine.device)
    return Validator(
        losses=losses,
        batching=batching,
        max_positions=longest_positions(task, model),
        decode=None if generation is None else _decoder(losses, generation, batching),
    )


def _require_same_vocabularies(first: Task, second: Task, first_folder: Path, second_folder: Path) -> None:
    for side in ("source_vocabulary", "target_vocabulary"):
        mine, theirs = getattr(first, side), getattr(second, side)
        if (mine and mine.fingerprint) != (theirs and theirs.fingerprint):
            raise CheckpointError(
                f"{first_folder} and {second_folder} have different {side.replace('_', ' ')}: they are no ensemble",
                remedy="decode together only models that were trained on the same vocabularies",
            )


def load(checkpoint: str | Path, **generation: Any) -> TextGenerator:
    """Load a trained model: `seqtrain.load("outputs/RUN/checkpoints/best").translate(["a man rides a bicycle"])`.

    Args:
        checkpoint: A checkpoint folder.
        generation: Fields of `GenerationConfig`: beam_size=5, length_penalty=0.6.

    Raises:
        CheckpointError: The folder is missing or damaged.
        ConfigError: There is no such field, or its value is wrong.
    """
    from seqtrain.config.check import check, typed

    settings = typed(GenerationConfig, generation)
    check(settings)
    return load_generator([Path(checkpoint)], generation=settings, batching=BatchingConfig(), runtime=RuntimeConfig())
