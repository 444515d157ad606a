"""A contestant in a process of its own, perhaps with the Python of another environment.

The two speak in lines. The process says `{"ready": ..., facts ...}` once it can start, then answers every line
"FIRST NUMBER" with a line of JSON: the fields of `contest.Block`, and what else it has to say (peak memory).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from benchmarks.harness.contest import Block
from benchmarks.harness.facts import CHECKOUT, Facts


class ArmProcess:
    """A contestant, see `contest.Arm`, that a process is: see `serving.serve` for the other end.

    Attributes:
        facts: What the process said of itself: the number of parameters, versions, ...
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **(environment or {})},
        )
        self.facts: Facts = self._read()

    def run(self, first: int, number: int) -> Block:
        """Do these pieces of work."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # a process that has ended is told of when its answer is read
            self._process.stdin.write(f"{first} {number}\n")
            self._process.stdin.flush()
        answer = self._read()
        block = Block(**{name: answer.pop(name) for name in ("seconds", "processor_seconds", "work", "device_seconds")})
        self.facts.update(answer)
        return block

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise SystemExit(f"The arm {self.name} ended with status {self._process.returncode}; see its messages.")
        answer: dict[str, Any] = json.loads(line)
        return answer
