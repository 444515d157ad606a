"""How hypothesis is run here: as many examples as the size of the suite asks for, the same ones each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.plugin import Figures, Size

NUM_EXAMPLES = 10_000


def fuzz(
    strategy: st.SearchStrategy[Any],
    check: Callable[[Any], object],
    *,
    size: Size,
    figures: Figures,
    share: float = 1.0,
) -> None:
    """Call a check with many examples; an example that it fails on is made smaller and shown.

    Args:
        strategy: Makes the examples.
        check: Returns something true where the example was refused with an error of ours.
        size: Of the suite.
        figures: Take the counts, under the name of the check.
        share: The part of all examples of this kind that this call makes.
    """
    num_examples = size.of(round(NUM_EXAMPLES * share), 25)
    counts = {"examples": 0, "refused with an error of ours": 0, "that crashed": 0}

    @settings(
        max_examples=num_examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(example: Any) -> None:
        counts["examples"] += 1
        counts["that crashed"] += 1
        refused = check(example)
        counts["that crashed"] -= 1
        counts["refused with an error of ours"] += bool(refused)

    try:
        run()
    finally:
        for what, number in counts.items():
            figures.count(f"Fuzzing: {check.__name__.replace('_', ' ')}", what, number)
