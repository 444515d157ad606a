"""What a contest is held to show: one arm so many times as fast as another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.harness.contest import Rounds
from benchmarks.harness.facts import Facts
from benchmarks.harness.intervals import Interval

LEAST_ROUNDS = 20
MAX_WIDTH_OF_SAME = 0.04
AGAIN = ", again"
"""Behind the name of a contestant that takes part a second time, for the A/A run."""


@dataclass(frozen=True)
class Claim:
    """One ratio, and the bar that its interval must lie above.

    Attributes:
        statement: What is compared, for a reader.
        bar: 0 if the ratio is only to be told.
    """

    statement: str
    ours: str
    baseline: str
    bar: float = 0.0

    def verdict(self, rounds: Rounds) -> str:
        """In a word or two: whether the rounds show it."""
        if not all(_is_valid(rounds, name) for name in _twice(rounds)):
            return "void: A/A"
        if not self.bar:
            return ""
        interval = rounds.interval(self.ours, self.baseline)
        if interval.low > self.bar and rounds.best_ratio(self.ours, self.baseline) > self.bar:
            return "shown"
        return "not shown" if interval.high > self.bar else "missed"


def are_enough(rounds: Rounds) -> bool:
    """Whether the rounds tell what the same contestant gives against itself to 4 %, so that no more are needed.

    It depends on how narrow that is and on nothing else: rounds that went on until a claim held would show anything.
    """
    return all(_is_known(rounds, name) for name in _twice(rounds))


def watched(keep: Callable[[Rounds], object]) -> Callable[[Rounds], bool]:
    """What `run_rounds` asks, for a contest with an A/A run.

    Args:
        keep: Given the rounds so far each time, to write them down: a benchmark that is killed loses two at most.

    Returns:
        `are_enough`, which also tells on stderr how far the rounds are from it.
    """

    def watch(rounds: Rounds) -> bool:
        widths = [f"{rounds.interval(name + AGAIN, name).width:.1%}" for name in _twice(rounds)]
        print(f"{max(map(len, rounds.blocks.values()))} rounds, A/A {', '.join(widths)} wide", file=sys.stderr)
        keep(rounds)
        return are_enough(rounds)

    return watch


def claims_table(rounds: Rounds, claims: Sequence[Claim]) -> str:
    """A Markdown table of claims and verdicts."""
    lines = [
        "| ratio | median [95 %] | of the best blocks | bar | | rounds | of the steady rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for claim in claims:
        names = claim.ours, claim.baseline
        steady = f"{rounds.steady_interval(*names) or ''} ({len(rounds.steady(*names))})"
        bar = f"{claim.bar:g}" if claim.bar else ""
        lines.append(
            f"| {claim.statement} | {rounds.interval(*names)} | {rounds.best_ratio(*names):.2f} | {bar} "
            f"| {claim.verdict(rounds)} | {len(rounds.blocks[claim.ours])} | {steady} |"
        )
    return "\n".join(lines)


def claims_record(rounds: Rounds, claims: Sequence[Claim]) -> list[Facts]:
    """The same for the JSON; `benchmarks.summary` reads it."""
    return [
        {
            "statement": claim.statement,
            "ours": claim.ours,
            "baseline": claim.baseline,
            "bar": claim.bar,
            "interval": _bounds(rounds.interval(claim.ours, claim.baseline)),
            "steady_interval": _bounds(rounds.steady_interval(claim.ours, claim.baseline)),
            "best_ratio": rounds.best_ratio(claim.ours, claim.baseline),
            "num_steady": len(rounds.steady(claim.ours, claim.baseline)),
            "num_rounds": len(rounds.blocks[claim.ours]),
            "verdict": claim.verdict(rounds),
        }
        for claim in claims
    ]


def same_arm_report(rounds: Rounds, name: str) -> str:
    """What the A/A run says: the same contestant twice must tie, and narrowly."""
    interval = rounds.interval(name + AGAIN, name)
    contains = "contains 1" if interval.contains(1.0) else "does not contain 1"
    verdict = "valid" if _is_valid(rounds, name) else "void"
    bounds = f"{interval.median:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    return (
        f"A/A: {name} against itself {bounds}, which {contains}; "
        f"its width is {interval.width:.1%} ({MAX_WIDTH_OF_SAME:.0%} at most), of {len(rounds.blocks[name])} rounds "
        f"({LEAST_ROUNDS} at least). The session is {verdict}."
    )


def _twice(rounds: Rounds) -> list[str]:
    """The contestants that take part twice."""
    return [name for name in rounds.blocks if name + AGAIN in rounds.blocks]


def _is_known(rounds: Rounds, name: str) -> bool:
    is_narrow = rounds.interval(name + AGAIN, name).width < MAX_WIDTH_OF_SAME
    return is_narrow and len(rounds.blocks[name]) >= LEAST_ROUNDS


def _is_valid(rounds: Rounds, name: str) -> bool:
    return _is_known(rounds, name) and rounds.interval(name + AGAIN, name).contains(1.0)


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.median, interval.low, interval.high]
