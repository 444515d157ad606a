"""The optimizer's step, unless the gradient is not finite: then parameters and optimizer state stay as they are.

An update whose step is left out counts as an update like any other: the schedule moves on, and the next batches follow.
So nobody has to wait until the host knows whether the step was made, and a resumed run takes the same way. The one
exception is float16, whose scale has to be found: an update that overflows there does not count, as ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from seqtrain.training.precision import MixedPrecision

__all__ = ["CountsUpdates", "HostCopy", "StepOutcome", "forget_update", "make_step", "step_on_device"]

_LEAST_SCALE = 2.0**-13  # of float16: where an overflow is not the scale's fault any more; about fairseq's 1e-4


@dataclass(frozen=True)
class StepOutcome:
    """What became of an update's step. A tensor () of bools stands for what only the device knows.

    Attributes:
        counts: Whether it counts as an update.
        skipped: Whether the step was left out.
        is_bad: Whether the numbers were to blame, not float16's scale.
    """

    counts: bool
    skipped: Tensor | bool
    is_bad: Tensor | bool


@runtime_checkable
class CountsUpdates(Protocol):
    """An optimizer that counts its steps on the host, which does not know that the device left one out."""

    def forget_update(self) -> None:
        """Take back the count of one step."""


def forget_update(optimizer: Optimizer) -> None:
    """Tell an optimizer, if it counts its steps, that the device left one out."""
    if isinstance(optimizer, CountsUpdates):
        optimizer.forget_update()


def make_step(precision: MixedPrecision, optimizer: Optimizer, norm: Tensor) -> StepOutcome:
    """Make the optimizer's step, unless the gradient is not finite.

    With torch's fused optimizers on CUDA the device decides, and the host does not wait. Others cannot do that, nor can
    those before their first step, which makes their state: there the host looks at the norm. On the CPU looking costs
    nothing.

    Args:
        precision: The number format; float16 looks for overflows itself.
        optimizer: Has the gradients, already scaled back and clipped.
        norm: (), the norm of the gradient before clipping, the same in all processes.
    """
    if precision.is_scaled:
        is_exhausted = precision.loss_scale <= _LEAST_SCALE
        made = precision.step(optimizer)
        if not made and _skips_on_device(optimizer):
            forget_update(optimizer)
        return StepOutcome(counts=made, skipped=not made, is_bad=not made and is_exhausted)
    if norm.device.type != "cpu" and optimizer.state and _skips_on_device(optimizer):
        skipped = step_on_device(optimizer, norm)
        return StepOutcome(counts=True, skipped=skipped, is_bad=skipped)
    is_bad = not math.isfinite(norm.item())
    if not is_bad:
        precision.step(optimizer)
    return StepOutcome(counts=True, skipped=is_bad, is_bad=is_bad)


def step_on_device(optimizer: Optimizer, norm: Tensor) -> Tensor:
    """Let the optimizer's own kernel leave the step out if the norm is not finite.

    The contract is that of torch.amp.GradScaler with its fused optimizers: they find `found_inf` beside their settings.

    Returns:
        Whether the step was left out, as a tensor () of bools.
    """
    skipped = ~torch.isfinite(norm)
    optimizer.found_inf = skipped.to(torch.float32)  # type: ignore[attr-defined]
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]
    return skipped


def _skips_on_device(optimizer: Optimizer) -> bool:
    return getattr(optimizer, "_step_supports_amp_scaling", False)


class HostCopy:
    """A bool on its way from the device to the host, which reads it when it has long arrived."""

    def __init__(self, value: Tensor | bool) -> None:
        self._value = value if isinstance(value, bool) else value.to("cpu", non_blocking=True)
        self._event: torch.cuda.Event | None = None
        if isinstance(value, Tensor) and value.is_cuda:
            self._event = torch.cuda.Event()
            self._event.record()

    def read(self) -> bool:
        """The bool; waits if it is still on its way."""
        if self._event is not None:
            self._event.synchronize()
        return bool(self._value)
