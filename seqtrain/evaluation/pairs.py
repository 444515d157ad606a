"""What all measures of text ask of their input."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.errors import DataError


def check_pairs(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Check that there is a reference for each hypothesis, and one at least.

    Raises:
        DataError: The numbers differ, or are 0.
    """
    if len(hypotheses) != len(references):
        raise DataError(
            f"{len(hypotheses)} hypotheses cannot be compared with {len(references)} references",
            remedy="give one reference for each hypothesis, in the same order",
        )
    if not hypotheses:
        raise DataError("there are no hypotheses to measure", remedy="give at least one hypothesis with its reference")
