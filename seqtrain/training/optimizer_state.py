"""An optimizer's state as named tensors and JSON, and back, without a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqtrain.errors import CheckpointError
from seqtrain.training.shards import shard_like

_PLAIN = (bool, int, float, str, type(None))


def optimizer_state(optimizer: Optimizer, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split the state into tensors and JSON values.

    Args:
        optimizer: Any `torch.optim.Optimizer` whose state is tensors and plain values.
        module: Its parameters' names name the tensors: "parameter name/state key".

    Raises:
        TypeError: A value is neither a tensor nor plain. Better to say so at the first save than to lose it.
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            label = f"{names[id(parameter)]}/{key}"
            if isinstance(value, Tensor):
                tensors[label] = value.detach()
            else:
                values[label] = _plain(value, label)
    groups = [
        {key: _plain(value, f"group {key}") for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    return tensors, {"values": values, "groups": groups}


def load_optimizer_state(
    optimizer: Optimizer, module: nn.Module, *, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]
) -> None:
    """Give an optimizer the state that `optimizer_state` took from one like it.

    Raises:
        CheckpointError: The state belongs to other parameters.
    """
    parameters = dict(module.named_parameters())
    fused = {id(member) for group in optimizer.param_groups if group.get("fused") for member in group["params"]}
    for label, value in [*tensors.items(), *plain["values"].items()]:
        name, _, key = label.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None:
            raise CheckpointError(f"the checkpoint has optimizer state of {name}, which the model does not have")
        if isinstance(value, Tensor):
            # Counters of torch's optimizers stay on the CPU, unless a fused kernel reads them there where it runs; what
            # has the parameter's shape lives beside it.
            device = parameter.device if id(parameter) in fused else torch.device("cpu")
            like = parameter if value.shape == parameter.shape else torch.empty((), dtype=value.dtype, device=device)
            optimizer.state[parameter][key] = shard_like(value.to(device=like.device), like).clone()
        else:
            optimizer.state[parameter][key] = value
    if len(plain["groups"]) != len(optimizer.param_groups):
        raise CheckpointError("the checkpoint's optimizer has another number of parameter groups")
    for group, saved in zip(optimizer.param_groups, plain["groups"], strict=True):
        for key, value in saved.items():
            group[key] = tuple(value) if isinstance(group.get(key), tuple) else value


def _plain(value: Any, label: str) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, label) for item in value]
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    raise TypeError(f"optimizer state {label} is a {type(value).__name__}, which a checkpoint cannot hold")
