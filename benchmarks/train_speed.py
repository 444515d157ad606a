"""How fast seqtrain trains the smallest recipe, against a plain torch.nn.Transformer loop: one paired run.

    python -m benchmarks.train_speed --rounds 20 --updates 4 --threads 2

Each arm is a process of its own. In every round all arms make the same updates, one after the other, in an order that
turns round from round to round (ABBA), so that what else the machine does falls on all of them. A round gives one ratio
of target tokens a second; the result is the median of the ratios, with a bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.batches import multi30k

NUM_BATCHES = 120  # those of one epoch, about
NUM_RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A median and the bounds that 95 % of the medians of resampled data lie in."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """Like "2.10 [2.05, 2.16]"."""
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap_median(values: list[float]) -> Interval:
    """The median of the values, with its percentile bootstrap interval (Efron, 1979)."""
    generator = random.Random(1)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(NUM_RESAMPLES))
    low, high = medians[round(0.025 * NUM_RESAMPLES)], medians[round(0.975 * NUM_RESAMPLES)]
    return Interval(statistics.median(values), low, high)


class ArmProcess:
    """A contestant in a process of its own."""

    def __init__(self, name: str, num_threads: int, clock: str) -> None:
        command = [sys.executable, "-m", "benchmarks.arms", name, str(num_threads), str(NUM_BATCHES)]
        self.name = name
        self._clock = clock
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == "ready"

    def run(self, first_update: int, num_updates: int) -> float:
        """Make these updates; the target tokens a second."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{first_update} {num_updates}\n")
        self._process.stdin.flush()
        seconds, processor_seconds, num_tokens = map(float, self._read().split())
        return num_tokens / (seconds if self._clock == "wall" else processor_seconds)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def measure(arms: list[ArmProcess], *, num_warmup: int, num_rounds: int, num_updates: int) -> dict[str, list[float]]:
    """The target tokens a second of each arm in each round, after updates that are not counted."""
    speeds: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for arm in arms:
        arm.run(0, num_warmup)
    for number in range(num_rounds):
        for arm in arms if number % 2 == 0 else reversed(arms):
            speeds[arm.name].append(arm.run(num_warmup + number * num_updates, num_updates))
    return speeds


def report(speeds: dict[str, list[float]], baseline: str) -> str:
    """A table: the speed of each arm and its ratio to the baseline."""
    lines = ["| arm | target tokens/s, median | ratio, median of the rounds [95 %] |", "|---|---|---|"]
    for name, values in speeds.items():
        ratios = [value / other for value, other in zip(values, speeds[baseline], strict=True)]
        lines.append(f"| {name} | {statistics.median(values):,.0f} | {bootstrap_median(ratios)} |")
    return "\n".join(lines)


def machine() -> dict[str, str | int]:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(names),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> None:
    """Run all arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--updates", type=int, default=4, help="updates of each arm in a round")
    parser.add_argument(
        "--warmup", type=int, default=40, help="updates of each arm that are not counted; kernels are made in them"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: processor time, for one thread on a busy machine"
    )
    parser.add_argument("--arms", nargs="+", default=["plain", "seqtrain_fp32", "seqtrain_bf16"])
    arguments = parser.parse_args()
    arms = [ArmProcess(name, arguments.threads, arguments.clock) for name in arguments.arms]
    speeds = measure(arms, num_warmup=arguments.warmup, num_rounds=arguments.rounds, num_updates=arguments.updates)
    for arm in arms:
        arm.close()
    print(json.dumps({**machine(), "data": multi30k()[1], **vars(arguments)}))
    print(report(speeds, arguments.arms[0]))


if __name__ == "__main__":
    main()
