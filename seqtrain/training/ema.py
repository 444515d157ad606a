"""An exponential moving average of the weights, kept beside them while they train.

It smooths out the noise of the last updates, as averaging checkpoints does (Polyak & Juditsky, 1992). Its memory is
short at first, as that of TensorFlow's ExponentialMovingAverage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from seqtrain.training.shards import local_part
from seqtrain.training.weights import copy_tensors, named_tensors

__all__ = ["ExponentialAverage", "decay_at"]


def decay_at(num_updates: int, decay: float) -> float:
    """How much of the average stays at an update: min(decay, (1 + n) / (10 + n)).

    Args:
        num_updates: n, the updates that were made, this one included.
        decay: Its limit; about the last 1 / (1 - decay) updates count.
    """
    return min(decay, (1 + num_updates) / (10 + num_updates))


class ExponentialAverage:
    """The average of a model's parameters. After each update, average = d * average + (1 - d) * parameters.

    Buffers are not averaged: those of the model count.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin with the weights as they are.

        Args:
            model: Whose parameters are averaged, in their number format and on their device.
            decay: See `decay_at`.
        """
        self._model = model
        self._decay = decay
        self._parameters = dict(model.named_parameters())
        self._average = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(self, num_updates: int, skipped: Tensor | bool = False) -> None:
        """Take the parameters of an update in.

        Args:
            num_updates: The updates that were made, this one included.
            skipped: Whether it made no step, so that the average stays; a tensor () of bools if only the device knows.
        """
        weight = 1.0 - decay_at(num_updates, self._decay)
        average, parameters = _parts(self._average), _parts(self._parameters)
        if isinstance(skipped, Tensor):
            steps = torch._foreach_sub(parameters, average)
            torch._foreach_mul_(steps, torch.where(skipped, 0.0, weight))
            torch._foreach_add_(average, steps)
        elif not skipped:
            torch._foreach_lerp_(average, parameters, weight)

    @torch.no_grad()
    def restart(self) -> None:
        """Begin again with the weights as they are."""
        torch._foreach_copy_(_parts(self._average), _parts(self._parameters))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the average as its weights, and its own again afterwards, to the bit."""
        with torch.no_grad():
            parameters = _parts(self._parameters)
            own = [part.clone() for part in parameters]
            torch._foreach_copy_(parameters, _parts(self._average))
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(parameters, own)

    def tensors(self) -> dict[str, Tensor]:
        """The average and the model's buffers, named as the model's weights."""
        return {**named_tensors(self._model), **self._average}

    def load(self, tensors: Mapping[str, Tensor], *, origin: str) -> None:
        """Take back what `tensors` gave.

        Raises:
            CheckpointError: Names or shapes do not fit; nothing was copied.
        """
        copy_tensors(self.tensors(), tensors, origin=origin)


def _parts(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """This process's memory of each tensor."""
    return [local_part(tensor) for tensor in tensors.values()]
