"""What a contest is held to show: one arm so many times as fast as another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness.contest import Rounds
from benchmarks.harness.facts import Facts
from benchmarks.harness.intervals import Interval

MAX_DROPPED = 0.30
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
        interval, num_kept = rounds.interval(self.ours, self.baseline), len(rounds.kept(self.ours, self.baseline))
        if interval is None or num_kept < (1 - MAX_DROPPED) * len(rounds.blocks[self.ours]):
            return "void: the machine was not steady"
        if not all(_ties(rounds, name) for name in rounds.blocks if name + AGAIN in rounds.blocks):
            return "void: A/A"
        if not self.bar:
            return ""
        if interval.low > self.bar:
            return "shown"
        return "not shown" if interval.high > self.bar else "missed"


def claims_table(rounds: Rounds, claims: Sequence[Claim]) -> str:
    """A Markdown table of claims and verdicts."""
    lines = [
        "| ratio | median [95 %] | of all rounds | of the best blocks | bar | rounds kept | |",
        "|---|---|---|---|---|---|---|",
    ]
    for claim in claims:
        interval = rounds.interval(claim.ours, claim.baseline) or "none kept"
        of_all = rounds.interval_of_all(claim.ours, claim.baseline)
        best = rounds.best_ratio(claim.ours, claim.baseline)
        kept = f"{len(rounds.kept(claim.ours, claim.baseline))} of {len(rounds.blocks[claim.ours])}"
        bar = f"{claim.bar:g}" if claim.bar else ""
        verdict = claim.verdict(rounds)
        lines.append(f"| {claim.statement} | {interval} | {of_all} | {best:.2f} | {bar} | {kept} | {verdict} |")
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
            "interval_of_all": _bounds(rounds.interval_of_all(claim.ours, claim.baseline)),
            "best_ratio": rounds.best_ratio(claim.ours, claim.baseline),
            "num_kept": len(rounds.kept(claim.ours, claim.baseline)),
            "num_rounds": len(rounds.blocks[claim.ours]),
            "verdict": claim.verdict(rounds),
        }
        for claim in claims
    ]


def same_arm_report(rounds: Rounds, name: str) -> str:
    """What the A/A run says: the same contestant twice must tie, and narrowly."""
    interval = rounds.interval(name + AGAIN, name)
    if interval is None:
        return f"A/A: no round of {name} was kept."
    contains = "contains 1" if interval.contains(1.0) else "does not contain 1"
    verdict = "valid" if _ties(rounds, name) else "void"
    bounds = f"{interval.median:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    return (
        f"A/A: {name} against itself {bounds}, which {contains}; "
        f"its width is {interval.width:.1%} ({MAX_WIDTH_OF_SAME:.0%} at most). The session is {verdict}."
    )


def _ties(rounds: Rounds, name: str) -> bool:
    interval = rounds.interval(name + AGAIN, name)
    return interval is not None and interval.contains(1.0) and interval.width < MAX_WIDTH_OF_SAME


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.median, interval.low, interval.high]
