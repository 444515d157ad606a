"""Number formats: which one the hardware multiplies well, and the context in which a model runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.optim import Optimizer

from seqtrain.config import root
from seqtrain.errors import ConfigError

_DTYPES = {root.Precision.fp32: torch.float32, root.Precision.bf16: torch.bfloat16, root.Precision.fp16: torch.float16}


def resolve_device(device: root.Device, local_rank: int = 0) -> torch.device:
    """The device to use; auto takes CUDA where there is a GPU.

    Args:
        device: What the config says.
        local_rank: The number of this process on its machine, and of its GPU.

    Raises:
        ConfigError: CUDA was asked for and there is none, or there are fewer GPUs than processes.
    """
    if device is root.Device.cpu or (device is root.Device.auto and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(
            f"device=cuda, but this torch ({torch.__version__}) finds no GPU",
            remedy="set the device to cpu, or install a CUDA build of torch",
        )
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"process {local_rank} of this machine has no GPU: there are {torch.cuda.device_count()}",
            remedy="start one process for each GPU: torchrun --nproc-per-node=gpu, or set the device to cpu",
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for products of bfloat16 matrices."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # torch has no public name for them up to 2.13
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def resolve_dtype(precision: root.Precision, device: torch.device) -> torch.dtype:
    """The number format of matrix products; auto takes bfloat16 where the hardware multiplies it."""
    if precision is root.Precision.auto:
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    return _DTYPES[precision]


class MixedPrecision:
    """Runs the model in one number format, over parameters and optimizer state in float32.

    Attributes:
        dtype: Of the matrix products.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype = dtype
        self._device_type = device.type
        # A scaler that is not enabled passes everything through: the null case for float32 and bfloat16.
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)

    @property
    def is_scaled(self) -> bool:
        """Whether losses are scaled, as float16 needs it."""
        return self._scaler.is_enabled()

    @property
    def loss_scale(self) -> float:
        """What losses are multiplied by."""
        return float(self._scaler.get_scale())

    def autocast(self) -> AbstractContextManager[None]:
        """The context for forward passes."""
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self._device_type, dtype=self.dtype)

    def scale(self, loss: Tensor) -> Tensor:
        """The loss whose gradient is taken: larger in float16, where small gradients would be lost."""
        return self._scaler.scale(loss)

    def unscale(self, optimizer: Optimizer) -> None:
        """Bring the gradients back to the loss's own size."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> bool:
        """Make the optimizer's step, unless float16 overflowed.

        Returns:
            Whether the step was made.
        """
        if not self._scaler.is_enabled():
            optimizer.step()
            return True
        scale = self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        return self._scaler.get_scale() >= scale

    def state_dict(self) -> dict[str, float]:
        """The scale of float16 and when it grows; empty in other formats."""
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take back what `state_dict` gave."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(state)
