"""Rounds in which contestants take turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from benchmarks.harness.intervals import Interval, bootstrap_median

Clock = Literal["wall", "cpu"]

MAX_PROBE_CHANGE = 0.10


@dataclass(frozen=True)
class Block:
    """What a contestant did in one turn: an amount of work (tokens, sentences, runs), in so many seconds.

    Attributes:
        seconds: By the clock.
        processor_seconds: Of all its threads together.
        work: In the benchmark's unit.
        device_seconds: Of the accelerator, between two of its events; 0 on the CPU.
        probes: How long the same fixed work took just before and just after, in seconds; none without a probe.
    """

    seconds: float
    processor_seconds: float
    work: float
    device_seconds: float = 0.0
    probes: tuple[float, ...] = ()

    def speed(self, clock: Clock = "wall") -> float:
        """Work a second."""
        return self.work / (self.seconds if clock == "wall" else self.processor_seconds)


class Arm(Protocol):
    """A contestant."""

    name: str

    def run(self, first: int, number: int) -> Block:
        """Do `number` pieces of work, from number `first` on."""


@dataclass(frozen=True)
class Rounds:
    """Each arm's blocks, round by round: those of one round did the same work, one soon after the other."""

    blocks: dict[str, list[Block]]
    clock: Clock = "wall"

    def speeds(self, name: str) -> list[float]:
        """Work a second of one arm in each round."""
        return [block.speed(self.clock) for block in self.blocks[name]]

    def ratios(self, name: str, baseline: str) -> list[float]:
        """How many times faster than the baseline an arm was in each round."""
        return [mine / other for mine, other in zip(self.speeds(name), self.speeds(baseline), strict=True)]

    def interval(self, name: str, baseline: str) -> Interval:
        """The median of the ratios."""
        return bootstrap_median(self.ratios(name, baseline))

    def steady(self, name: str, baseline: str) -> list[int]:
        """The rounds in which the machine's own speed, by the probes around both blocks, changed by 10 % at most."""
        pairs = zip(self.blocks[name], self.blocks[baseline], strict=True)
        return [number for number, pair in enumerate(pairs) if _is_steady([*pair[0].probes, *pair[1].probes])]

    def steady_interval(self, name: str, baseline: str) -> Interval | None:
        """The median of the ratios of steady rounds; none if there was no such round."""
        ratios = self.ratios(name, baseline)
        chosen = [ratios[number] for number in self.steady(name, baseline)]
        return bootstrap_median(chosen) if chosen else None

    def best_ratio(self, name: str, baseline: str) -> float:
        """The ratio of the two arms' fastest blocks: what disturbs a block makes it slower."""
        return max(self.speeds(name)) / max(self.speeds(baseline))

    def fastest(self, names: Sequence[str]) -> str:
        """The name of the fastest of some arms, by its median speed."""
        return max(names, key=lambda name: bootstrap_median(self.speeds(name)).median)


def run_rounds(
    arms: Sequence[Arm],
    *,
    num_rounds: int,
    num_pieces: int,
    num_warmup: int,
    probe: Callable[[], float] | None = None,
    clock: Clock = "wall",
    are_enough: Callable[[Rounds], bool] | None = None,
) -> Rounds:
    """Let all arms do the same work in each round, in an order that turns from round to round (ABBA).

    Args:
        arms: Who takes part; what is compared best stands side by side.
        num_rounds: The most that there are.
        num_pieces: Of work in a block.
        num_warmup: Pieces that are done before, and not counted.
        probe: Does a fixed piece of work, and says how long it took.
        clock: Of the rounds.
        are_enough: Asked after every second round; yes ends them. See `claims.watched`.
    """
    blocks: dict[str, list[Block]] = {arm.name: [] for arm in arms}
    for arm in arms:
        arm.run(0, num_warmup)
    rounds = Rounds(blocks, clock)
    for number in range(num_rounds):
        before = _probe(probe)
        for arm in arms if number % 2 == 0 else reversed(arms):
            block = arm.run(num_warmup + number * num_pieces, num_pieces)
            after = _probe(probe)
            blocks[arm.name].append(Block(*_figures(block), probes=before + after))
            before = after
        if number % 2 and are_enough is not None and are_enough(rounds):  # as many in one order as in the other
            break
    return rounds


def _figures(block: Block) -> tuple[float, float, float, float]:
    return block.seconds, block.processor_seconds, block.work, block.device_seconds


def _probe(probe: Callable[[], float] | None) -> tuple[float, ...]:
    return (probe(),) if probe is not None else ()


def _is_steady(probes: Sequence[float]) -> bool:
    return not probes or max(probes) <= (1 + MAX_PROBE_CHANGE) * min(probes)
