"""The contestant's end of `process.ArmProcess`. Needs nothing but Python, so that a peer's environment can run it."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Device(Protocol):
    """An accelerator's own clock and memory."""

    def start(self) -> None:
        """Wait for all work that was given to it, and start the clock."""

    def stop(self) -> float:
        """Wait for all work that was given to it; its seconds since the start."""

    def peak_bytes(self) -> int:
        """The most memory it has had in use."""


def serve(piece: Callable[[int], float], facts: dict[str, Any], device: Device | None = None) -> None:
    """Answer the lines of the standard input until it ends.

    Args:
        piece: Does a piece of work by its number, and returns how much work that was.
        facts: Said when ready: the number of parameters, versions, ...
        device: The accelerator that the work is on, if it is on one.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peer prints is no answer
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        first, number = map(int, line.split())
        if device is not None:
            device.start()
        start, processor_start = time.perf_counter(), time.process_time()
        work = sum(piece(index) for index in range(first, first + number))
        device_seconds = device.stop() if device is not None else 0.0
        answer = {
            "seconds": time.perf_counter() - start,
            "processor_seconds": time.process_time() - processor_start,
            "work": work,
            "device_seconds": device_seconds,
            "peak_bytes": device.peak_bytes() if device is not None else _resident_bytes(),
        }
        print(json.dumps(answer), file=answers, flush=True)


def _resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
