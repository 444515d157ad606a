"""Tensors and modules of which each process holds a part: torch's DTensor and FSDPModule.

They are known by what they can do: importing the classes takes seconds that most runs need not spend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from seqtrain.training.distributed import collective

__all__ = ["is_sharded", "local_part", "norm_of_parts", "shard_like", "whole_parameters"]


def is_sharded(tensor: Tensor) -> bool:
    """Whether this process holds a part of the tensor only."""
    return hasattr(tensor, "device_mesh")


def local_part(tensor: Tensor) -> Tensor:
    """This process's part, in the same memory; all of a tensor that is not sharded."""
    if not is_sharded(tensor):
        return tensor
    sharded: Any = tensor
    part: Tensor = sharded.to_local()
    return part


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor that every process has whole, sharded like another one of its shape, if that is sharded."""
    if is_sharded(tensor) or not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    sharded: Any = like
    return distribute_tensor(tensor.to(like.device), sharded.device_mesh, sharded.placements, src_data_rank=None)


def norm_of_parts(tensors: Sequence[Tensor]) -> Tensor:
    """The L2 norm () over all numbers of some tensors, of all processes' parts if they are sharded; at least one."""
    parts = [local_part(tensor) for tensor in tensors]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(parts)))
    if is_sharded(tensors[0]):
        sharded: Any = tensors[0]
        square = norm.square()
        with collective():
            distributed.all_reduce(square, group=sharded.device_mesh.get_group())
        norm = square.sqrt()
    return norm


@contextmanager
def whole_parameters(module: nn.Module) -> Iterator[None]:
    """Gather all parameters of a module for uses that no forward pass of its own starts, such as a search.

    In here the processes need not do the same. The module has run once before: with its first pass torch finds out
    which part is the outermost. Does nothing for a module that is not sharded.
    """
    parts: list[Any] = [part for part in module.modules() if hasattr(part, "set_reshard_after_forward")]
    with collective():
        for part in parts:
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(part is not module, recurse=False)
