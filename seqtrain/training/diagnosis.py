"""Where numbers stop being finite: the layer, found by computing a batch once more with eyes open."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.data.batch import Batch
from seqtrain.training.randomness import seed_everything
from seqtrain.training.shards import local_part
from seqtrain.training.step import Learner

__all__ = ["Finding", "diagnose", "first_bad_weight"]


@dataclass
class Finding:
    """What is not finite when one batch is computed.

    Attributes:
        loss: Of the batch, a sum over it.
        weight: The first parameter that is itself not finite.
        output: The layer whose output is the first not to be.
        gradient: The layer whose output's gradient is the first not to be, on the way back from the loss.
        parameter: The first parameter whose gradient is not finite; layers stand in their own order.
    """

    loss: float = 0.0
    weight: str | None = None
    output: str | None = None
    gradient: str | None = None
    parameter: str | None = None

    @property
    def is_bad(self) -> bool:
        """Whether anything is not finite; gradients of parameters may be the sum over processes (fsdp)."""
        return self.is_bad_here or self.parameter is not None

    @property
    def is_bad_here(self) -> bool:
        """Whether anything is not finite that this process has computed alone."""
        return not math.isfinite(self.loss) or any((self.weight, self.output, self.gradient))

    def state_dict(self) -> dict[str, Any]:
        """As JSON values; a loss that is no number is text there."""
        return {**asdict(self), "loss": self.loss if math.isfinite(self.loss) else str(self.loss)}

    def __str__(self) -> str:
        """One clause: from the cause to what followed from it."""
        if self.weight is not None:
            return f"the parameter {self.weight} itself is not finite"
        loss = f"its loss is {self.loss:.6g}"
        if self.output is not None:
            return f"{loss}, and the first layer with an output that is not finite is {self.output}"
        if self.gradient is not None:
            return f"{loss}, and on the way back the first gradient that is not finite is that of {self.gradient}"
        if self.parameter is not None:
            return f"{loss}, and the first gradient that is not finite is that of {self.parameter}"
        return loss


def diagnose(learner: Learner, batch: Batch, *, seed: tuple[int, int, int]) -> Finding:
    """Compute a batch again, forward and backward, and see where it stops being finite. No step is made.

    Args:
        learner: Its gradients are overwritten, and no gradient travels.
        batch: As it was given to the model.
        seed: Of the run; and epoch and global number of the batch, from which its random numbers derive.
    """
    finding = Finding(weight=first_bad_weight(learner.module))
    learner.optimizer.zero_grad(set_to_none=True)
    seed_everything(seed[0], "train", *seed[1:])
    with learner.module.uncompiled(), _watching(learner.module, finding):
        output = learner.task.train_step(
            batch.to(learner.device), learner.module.model, learner.local_loss, learner.optimizer
        )
    finding.loss = output.logs["loss"].item()
    finding.parameter = _first_bad((name, value.grad) for name, value in learner.module.named_parameters())
    learner.optimizer.zero_grad(set_to_none=True)
    return finding


def first_bad_weight(module: nn.Module) -> str | None:
    """The name of the first parameter with a number that is not finite; of a share of it, in this process."""
    norms = torch._foreach_norm([local_part(parameter.detach()) for parameter in module.parameters()])
    if not norms or _is_finite(torch.stack(norms)):  # one look for all
        return None
    return _first_bad(module.named_parameters())


def _first_bad(tensors: Iterator[tuple[str, Tensor | None]]) -> str | None:
    return next((name for name, tensor in tensors if tensor is not None and not _is_finite(tensor)), None)


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(local_part(tensor.detach())).all())


@contextmanager
def _watching(module: nn.Module, finding: Finding) -> Iterator[None]:
    """Take down the first layer whose output is not finite, and the first whose output's gradient is not.

    A layer's hook runs when its own layers are through: the innermost one is named.
    """

    def look(name: str, value: Any) -> None:
        for tensor in _tensors(value):
            if finding.output is None and not _is_finite(tensor):
                finding.output = name
            if tensor.requires_grad:
                tensor.register_hook(lambda gradient: look_back(name, gradient))

    def look_back(name: str, gradient: Tensor) -> None:
        if finding.gradient is None and not _is_finite(gradient):
            finding.gradient = name

    names = {layer: name for name, layer in module.named_modules() if name}

    def hook(layer: nn.Module, _: Any, output: Any) -> None:
        look(names[layer], output)

    handles = [layer.register_forward_hook(hook) for layer in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    """The floating-point tensors of a layer's output."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _tensors(member)
