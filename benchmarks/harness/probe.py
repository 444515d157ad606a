"""A fixed piece of work, whose time says how fast the machine itself is at the moment."""

from __future__ import annotations

import time

import torch

from benchmarks.harness.contest import Clock

SECONDS = 0.2
GEMM_SIZE = {"cpu": 1024, "cuda": 8192}
COPY_BYTES = 64 * 2**20


class Probe:
    """Matrix products and copies for about 0.2 s, as many each time as the first calls showed to be needed.

    Args:
        num_threads: Those of the contestants: what takes one of their cores is seen.
        device: "cpu" or "cuda".
        clock: That of the contest.
    """

    def __init__(self, num_threads: int, device: str = "cpu", clock: Clock = "wall") -> None:
        self._num_threads = num_threads
        self._device = device
        self._clock = time.perf_counter if clock == "wall" else time.process_time
        size = GEMM_SIZE[device]
        self._factors = torch.ones(2, size, size, device=device) / size
        self._bytes = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=device)
        self._num_repeats = 1
        self()
        self._num_repeats = max(1, round(SECONDS / min(self() for _ in range(3))))

    def __call__(self) -> float:
        """Do it; the seconds it took."""
        torch.set_num_threads(self._num_threads)
        start = self._clock()
        for _ in range(self._num_repeats):
            torch.matmul(self._factors[0], self._factors[1])
            self._bytes.clone()
        if self._device == "cuda":
            torch.cuda.synchronize()
        return self._clock() - start
