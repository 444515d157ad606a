"""Config to components: the five kinds, the machine, and what decodes with a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from seqtrain.config import PluginConfig, registry
from seqtrain.config.ranks import Rank, this_rank
from seqtrain.config.root import BatchingConfig, DistributedConfig, GenerationConfig, RuntimeConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

    from seqtrain.criterions.base import Criterion
    from seqtrain.data.dataset import Dataset
    from seqtrain.lr_schedulers.base import LRScheduler
    from seqtrain.models.base import Model
    from seqtrain.optimizers.base import OptimizerConfig
    from seqtrain.tasks.base import Task
    from seqtrain.training.distributed import Processes
    from seqtrain.training.precision import MixedPrecision
    from seqtrain.training.step import LossFunction


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


@dataclass(frozen=True)
class Runtime:
    """Where, in which number format and with whom models run."""

    device: torch.device
    precision: MixedPrecision
    processes: Processes


def prepare_runtime(config: RuntimeConfig, distributed: DistributedConfig | None = None) -> Runtime:
    """Set the process up (threads, allocator, exactness), choose device and number format, find the other processes.

    Args:
        config: The machine.
        distributed: How to train with the processes that torchrun started; None works alone.
    """
    from seqtrain.training.distributed import SingleProcess, join_processes
    from seqtrain.training.precision import MixedPrecision, resolve_device, resolve_dtype
    from seqtrain.training.runtime import prepare_process, speed_up_float32

    rank = this_rank() if distributed is not None else Rank()
    prepare_process(config.num_threads, config.deterministic)
    device = resolve_device(config.device, rank.local_rank)
    dtype = resolve_dtype(config.precision, device)
    speed_up_float32(device, dtype, deterministic=config.deterministic)
    return Runtime(
        device,
        MixedPrecision(dtype, device),
        SingleProcess() if distributed is None else join_processes(rank, distributed, device),
    )


def longest_positions(task: Task, model: Model) -> tuple[int, int]:
    """The longest source and target that task and model take, in tokens, the end symbol included."""
    limits = zip(task.max_positions, model.max_positions, strict=True)
    source, target = (min(pair) for pair in limits)
    return source, target


def build_decoder(
    losses: LossFunction,
    generation: GenerationConfig,
    batching: BatchingConfig,
    *,
    processes: Processes,
    must_stop: Callable[[], bool] = lambda: False,
) -> Callable[[str], list[str]]:
    """A function that decodes a split with the model as it then is, each process its share."""
    from seqtrain.training.shards import whole_parameters
    from seqtrain.training.validation import decode_together

    def decode_dataset(dataset: Dataset) -> list[str]:
        from seqtrain.generation.text import TextGenerator

        generator = TextGenerator(
            losses.task,
            [losses.module.model],
            generation=generation,
            batching=batching,
            device=losses.device,
            autocast=losses.precision.autocast,
        )
        return [hypotheses[0].text for hypotheses in generator.generate_dataset(dataset)]

    def decode(split: str) -> list[str]:
        with whole_parameters(losses.module):  # a search calls more of the model than its forward
            return decode_together(decode_dataset, losses.task.dataset(split), processes, must_stop)

    return decode
