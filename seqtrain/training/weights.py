"""A module's tensors by name, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from seqtrain.errors import CheckpointError
from seqtrain.training.shards import shard_like

if TYPE_CHECKING:
    from seqtrain.training.checkpoint import Checkpoint

_SHOWN = 5


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; a tied parameter once, under the first of its names."""
    once = {name for name, _ in module.named_parameters()}
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    return {
        name: tensor.detach() for name, tensor in module.state_dict().items() if name in once or name not in parameters
    }


def chosen_weights(checkpoint: Checkpoint, *, use_ema: bool | None) -> dict[str, Tensor]:
    """The weights of a checkpoint to use.

    Args:
        checkpoint: Whose weights.
        use_ema: Whether they are the averaged ones; None takes those where there are any.

    Raises:
        CheckpointError: It has no averaged weights, and they are asked for.
    """
    averaged = None if use_ema is False else checkpoint.ema
    if averaged is None and use_ema:
        raise CheckpointError(
            f"{checkpoint.folder} has no averaged weights: its run kept none",
            remedy="leave use_ema=true out, or train with training.ema_decay",
        )
    return checkpoint.model if averaged is None else averaged


def load_named_tensors(module: nn.Module, tensors: Mapping[str, Tensor], *, origin: str) -> None:
    """Copy tensors into a module's parameters and buffers.

    Args:
        module: Takes the values; its dtype and device stay.
        tensors: What `named_tensors` gave for a module like it.
        origin: Where they come from, for messages.

    Raises:
        CheckpointError: Names or shapes do not fit; nothing was copied.
    """
    copy_tensors(named_tensors(module), tensors, origin=origin)


def copy_tensors(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, origin: str) -> None:
    """Copy tensors into those of the same names.

    Args:
        own: Take the values; their dtype and device stay.
        tensors: The values.
        origin: Where they come from, for messages.

    Raises:
        CheckpointError: Names or shapes do not fit; nothing was copied.
    """
    missing, surplus = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    if missing or surplus:
        lines = [f"{origin} does not fit the model:"]
        lines += [f"  it lacks {name}" for name in missing[:_SHOWN]]
        lines += [f"  the model has no {name}" for name in surplus[:_SHOWN]]
        raise CheckpointError("\n".join(lines), remedy="give the model config that the checkpoint was trained with")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise CheckpointError(
                f"{origin} does not fit the model: {name} is {tuple(tensors[name].shape)} there and "
                f"{tuple(tensor.shape)} here",
                remedy="the vocabulary or the model's sizes differ: give those that the checkpoint was trained with",
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(shard_like(tensors[name], tensor))
