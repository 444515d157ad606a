"""Config to compiled training passes: by torch.compile on a GPU, by kernels of our own on a CPU."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from importlib.util import find_spec
from shutil import which
from typing import TYPE_CHECKING

from seqtrain.assemble.components import Runtime
from seqtrain.config.root import BatchForm, Strategy, Switch, TrainConfig
from seqtrain.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from seqtrain.training.step import TrainableModule

logger = logging.getLogger(__name__)

_LEAVE = "leave training.compile=never"
_LEAST_CAPABILITY = (7, 0)  # of a GPU that Triton makes kernels for


def settle_compilation(config: TrainConfig, module: TrainableModule, runtime: Runtime) -> None:
    """Have training passes compiled where the config asks for it; before distributed training wraps the module.

    Raises:
        ConfigError: It is asked for and cannot be had.
    """
    if config.training.compile is Switch.never:
        return
    if runtime.device.type == "cpu":
        _settle_kernels(config.training.compile, module, runtime)
    elif _is_wanted(config, runtime):
        _settle_graphs(config, module, runtime)


def _settle_kernels(wish: Switch, module: TrainableModule, runtime: Runtime) -> None:
    """torch.compile would make training on a CPU slower: it undoes what is written for one."""
    from seqtrain.nn.native.build import CompilerError
    from seqtrain.nn.training_kernels import TrainingKernels

    try:
        module.use_kernels(TrainingKernels())
    except CompilerError as error:
        if wish is Switch.always:
            remedy = f"{error.remedy}, or {_LEAVE}"
            raise ConfigError(f"training.compile=always: {error.args[0]}", remedy=remedy) from error
        if runtime.processes.is_first:
            said = "training.compile=auto: nothing is compiled, and training is slower, for %s; %s"
            logger.warning(said, error.args[0], error.remedy)


def _settle_graphs(config: TrainConfig, module: TrainableModule, runtime: Runtime) -> None:
    from seqtrain.training.compilation import CompileOptions, compile_parts

    options = CompileOptions(is_deterministic=config.training.deterministic)
    if _is_sharded(config, runtime):
        compile_parts(module.model.sharding_units(), options)
    else:
        module.compile_training(options)


def _is_wanted(config: TrainConfig, runtime: Runtime) -> bool:
    wish = config.training.compile
    obstacle = _obstacle(config, runtime)
    if obstacle is not None and wish is Switch.always:
        remedy = f"{obstacle.remedy}, or leave training.compile=never" if obstacle.remedy else _LEAVE
        raise ConfigError(f"training.compile=always: {obstacle.reason}", remedy=remedy)
    if obstacle is not None and runtime.processes.is_first:
        said = f"training.compile=auto: nothing is compiled, for {obstacle.reason}"
        if obstacle.remedy is None:
            logger.info(said)
        else:
            logger.warning("%s, and training is slower; %s", said, obstacle.remedy)
    return obstacle is None


@dataclass(frozen=True)
class _Obstacle:
    """What stands against compiling.

    Attributes:
        reason: In words.
        remedy: What to install; None where nothing would help.
    """

    reason: str
    remedy: str | None = None


def _obstacle(config: TrainConfig, runtime: Runtime) -> _Obstacle | None:
    if _is_sharded(config, runtime) and config.batching.form is not BatchForm.packed:
        return _Obstacle("with distributed.strategy=fsdp it needs batching.form=packed")
    return _no_gpu_kernels(runtime.device)


def _no_gpu_kernels(device: torch.device) -> _Obstacle | None:
    """What Triton lacks: besides itself a C compiler, for what starts its kernels."""
    import torch

    if torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        return _Obstacle("the GPU is older than Triton supports")
    if find_spec("triton") is None:
        return _Obstacle("Triton, which makes the kernels, is not installed", "install triton")
    names = (own,) if (own := os.environ.get("CC")) else ("gcc", "clang")
    if any(which(name) for name in names):
        return None
    missing = " or ".join(names)
    return _Obstacle(
        f"there is no C compiler ({missing}), which the kernels need",
        f"install {missing}, or set CC to another compiler",
    )


def _is_sharded(config: TrainConfig, runtime: Runtime) -> bool:
    return config.distributed.strategy is Strategy.fsdp and runtime.processes.world_size > 1
