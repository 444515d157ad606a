"""Config to torch.compile: whether it can be had, and whether it pays."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING

from seqtrain.assemble.components import Runtime
from seqtrain.config.root import BatchForm, Strategy, Switch, TrainConfig
from seqtrain.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from seqtrain.training.step import TrainableModule

logger = logging.getLogger(__name__)

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
    reason = _why_not(config, runtime)
    if reason is not None and wish is Switch.always:
        raise ConfigError(f"training.compile=always: {reason}", remedy="leave training.compile=never")
    if reason is None and wish is Switch.auto and runtime.device.type != "cuda":
        reason = "it makes training on a CPU slower"
    if reason is not None and runtime.processes.is_first:
        logger.info("training.compile=auto: nothing is compiled, for %s", reason)
    return reason is None


def _why_not(config: TrainConfig, runtime: Runtime) -> str | None:
    """What stands against compiling, in words."""
    if _is_sharded(config, runtime) and config.batching.form is not BatchForm.packed:
        return "with distributed.strategy=fsdp it needs batching.form=packed"
    return _why_no_kernels(runtime.device) if runtime.device.type == "cuda" else None


def _why_no_kernels(device: torch.device) -> str | None:
    import torch

    if torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        return "the GPU is older than Triton supports"
    return None if find_spec("triton") is not None else "Triton, which makes the kernels, is not installed"


def _is_sharded(config: TrainConfig, runtime: Runtime) -> bool:
    return config.distributed.strategy is Strategy.fsdp and runtime.processes.world_size > 1
