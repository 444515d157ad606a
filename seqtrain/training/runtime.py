"""What a process sets once, before it computes: threads, memory, reproducibility."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

__all__ = ["prepare_process", "speed_up_float32"]

# Everything elementwise that MKL's vector library computes for torch on the CPU. Its first call of each function is not
# thread-safe: with several threads one of them now and then takes another code path, and the last bits differ from run
# to run (https://github.com/pytorch/pytorch/issues/188792). One call in one thread settles it.
_VECTOR_FUNCTIONS = (
    *("acos", "asin", "atan", "cos", "cosh", "erf", "erfc", "erfinv", "exp", "expm1", "lgamma", "log", "log10"),
    *("log1p", "log2", "rsqrt", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
)

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h
_TRIM_BYTES = 2**31 - 1
_TOP_PAD_BYTES = 2**26


def prepare_process(num_threads: int | None, deterministic: bool) -> None:
    """Make this process ready to train or to decode; to be called before anything is computed.

    Args:
        num_threads: CPU threads of torch; None takes one a core, or what OMP_NUM_THREADS says.
        deterministic: On CUDA, use only kernels that give the same bits each time. The CPU always does.
    """
    _keep_freed_memory()
    torch.set_num_threads(num_threads or torch.get_num_threads())
    _call_vector_functions_once()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it starts
        torch.use_deterministic_algorithms(True)


def speed_up_float32(device: torch.device, dtype: torch.dtype, *, deterministic: bool) -> None:
    """Let a GPU that trains in a short number format round what is left of float32 products to TensorFloat-32.

    Args:
        device: Where the model is.
        dtype: The number format of the products; in float32 nothing is rounded.
        deterministic: Whether results must be the same everywhere; then nothing is rounded either.
    """
    if device.type == "cuda" and dtype is not torch.float32 and not deterministic:
        torch.set_float32_matmul_precision("high")


def _keep_freed_memory() -> None:
    """Tell glibc to keep the memory of freed tensors for the next ones.

    By default it gives large blocks back to the system at once, which clears each page again for the next tensor of
    that size: tens of thousands of page faults an update. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # no block of its own for a large tensor
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
        mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


def _call_vector_functions_once() -> None:
    for dtype in (torch.float32, torch.float64):
        one = torch.full((1,), 0.5, dtype=dtype)
        for name in _VECTOR_FUNCTIONS:
            getattr(torch, name)(one)
        one.pow(1.5)
        one.clone().bernoulli_(0.5)
        one.clone().normal_()
