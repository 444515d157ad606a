"""Fully sharded data parallelism: every process holds a part of the parameters, gradients and optimizer state.

A unit of the model (a layer, mostly) is gathered before its forward pass and again before its backward pass, and its
gradients are summed and shared out after that (Rajbhandari et al., 2020, https://arxiv.org/abs/1910.02054; PyTorch's
fully_shard, "FSDP2").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from seqtrain.criterions.base import LossOutput
from seqtrain.data.batch import Batch
from seqtrain.errors import ConfigError
from seqtrain.training.distributed import Processes, collective
from seqtrain.training.reduction import GradientReduction
from seqtrain.training.step import TrainableModule

__all__ = ["FullySharded"]

# The hook that starts gathering for the backward pass hangs on the tensors of a module's output: so torch must see them
# in a loss, which the versions before 2.13 do only in classes that they know.
torch.export.register_dataclass(LossOutput)


class FullySharded(GradientReduction):
    """Shards a module, whose parameters are DTensors from then on: the optimizer is built afterwards.

    The module stays where it is and keeps the names of its parameters. Every pass goes through its forward. Gradients
    are kept whole in each process until the last micro-batch of an update has been added.
    """

    def __init__(self, module: TrainableModule, processes: Processes, device: torch.device) -> None:
        """Share the parameters out.

        Args:
            module: With the same weights in all processes, on the CPU: each unit is moved to the device by itself.
            processes: Who shares them.
            device: Where the parts go.

        Raises:
            ConfigError: A parameter cannot be shared out, for it has no dimension.
        """
        _require_dimensions(module)
        mesh = init_device_mesh(device.type, (processes.world_size,))
        units = [unit for unit in module.model.sharding_units() if _owns_its_parameters(unit, module)]
        for part in [*units, module]:
            sharded: Any = fully_shard(part, mesh=mesh)
            sharded.set_gradient_divide_factor(1.0)  # a sum: what it is divided by is the sample size, and comes later
            sharded.set_force_sum_reduction_for_comms(True)
        module.register_forward_hook(_free_after_evaluation)
        super().__init__(module)

    @contextmanager
    def micro_batch(self, batch: Batch, *, is_last: bool) -> Iterator[None]:
        """See `GradientReduction`."""
        root: Any = self.module
        root.set_requires_gradient_sync(is_last)
        root.set_is_last_backward(is_last)
        with collective():
            yield


def _require_dimensions(module: nn.Module) -> None:
    scalars = [name for name, parameter in module.named_parameters() if parameter.dim() == 0]
    if scalars:
        raise ConfigError(
            f"distributed.strategy=fsdp: the parameter {scalars[0]} is a single number without a dimension, "
            "which cannot be shared out",
            remedy="give it the shape (1,), or set distributed.strategy=ddp",
        )


def _owns_its_parameters(unit: nn.Module, module: nn.Module) -> bool:
    """Whether a unit has parameters, and none that has a name outside: what is tied is gathered with the root."""
    inside, everywhere = _count_names(unit), _count_names(module)
    return bool(inside) and all(everywhere[parameter] == count for parameter, count in inside.items())


def _count_names(module: nn.Module) -> Counter[nn.Parameter]:
    return Counter(parameter for _, parameter in module.named_parameters(remove_duplicate=False))


def _free_after_evaluation(module: nn.Module, _: Any, __: Any) -> None:
    """A backward pass frees what the root has gathered, but a pass for a validation loss has none."""
    if not torch.is_grad_enabled():
        assert isinstance(module, FSDPModule)
        module.reshard()
