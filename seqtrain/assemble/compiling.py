"""Config to torch.compile: whether it can be had, and whether it pays."""

from __future__ import annotations

import logging
import os
import sys
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
    from seqtrain.training.compilation import CompileOptions, compile_parts

    if not _is_wanted(config, runtime):
        return
    options = CompileOptions(is_deterministic=config.training.deterministic)
    if _is_sharded(config, runtime):
        compile_parts(module.model.sharding_units(), options)
    else:
        module.compile_training(options)


def _is_wanted(config: TrainConfig, runtime: Runtime) -> bool:
    wish = config.training.compile
    if wish is Switch.never:
        return False
    obstacle = _obstacle(config, runtime)
    if obstacle is not None and wish is Switch.always:
        remedy = f"{obstacle.remedy}, or leave training.compile=never" if obstacle.remedy else _LEAVE
        raise ConfigError(f"training.compile=always: {obstacle.reason}", remedy=remedy)
    if obstacle is None and wish is Switch.auto and runtime.device.type != "cuda":
        obstacle = _Obstacle("it makes training on a CPU slower")
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
    return _no_gpu_kernels(runtime.device) if runtime.device.type == "cuda" else _no_cpu_kernels()


def _no_gpu_kernels(device: torch.device) -> _Obstacle | None:
    """What Triton lacks: besides itself a C compiler, for what starts its kernels."""
    import torch

    if torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        return _Obstacle("the GPU is older than Triton supports")
    if find_spec("triton") is None:
        return _Obstacle("Triton, which makes the kernels, is not installed", "install triton")
    return _no_compiler("C", "CC", ("gcc", "clang"))


def _no_cpu_kernels() -> _Obstacle | None:
    return _no_compiler("C++", "CXX", ("clang++",) if sys.platform == "darwin" else ("g++",))


def _no_compiler(language: str, variable: str, names: tuple[str, ...]) -> _Obstacle | None:
    """What is missing if none of these programs is found, or not the one that the environment names instead."""
    if own := os.environ.get(variable):
        names = (own,)
    if any(which(name) for name in names):
        return None
    missing = " or ".join(names)
    return _Obstacle(
        f"there is no {language} compiler ({missing}), which the kernels need",
        f"install {missing}, or set {variable} to another compiler",
    )


def _is_sharded(config: TrainConfig, runtime: Runtime) -> bool:
    return config.distributed.strategy is Strategy.fsdp and runtime.processes.world_size > 1
