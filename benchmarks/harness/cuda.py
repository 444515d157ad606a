"""The clock and the memory of a GPU, for `serving.serve`."""

from __future__ import annotations

import torch


class CudaDevice:
    """See `serving.Device`."""

    def __init__(self) -> None:
        self._first, self._last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def start(self) -> None:
        """See `serving.Device`."""
        torch.cuda.synchronize()
        self._first.record()

    def stop(self) -> float:
        """See `serving.Device`."""
        self._last.record()
        torch.cuda.synchronize()
        return float(self._first.elapsed_time(self._last)) / 1000

    def peak_bytes(self) -> int:
        """See `serving.Device`."""
        return torch.cuda.max_memory_allocated()
