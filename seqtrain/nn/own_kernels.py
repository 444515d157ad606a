"""Where this package computes in ways of its own: on a CPU, unless torch.compile traces."""

from __future__ import annotations

import torch

__all__ = ["uses_own_kernels"]


def uses_own_kernels(device: torch.device) -> bool:
    """Whether a device is a CPU that computes as written, for which much here is written anew.

    Everywhere else, and in whatever torch.compile traces, there are torch's own operators alone, of shapes that the
    host knows without asking the device.
    """
    return device.type == "cpu" and not torch.compiler.is_compiling()
