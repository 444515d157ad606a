"""How many hypotheses are exactly right."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.evaluation.pairs import check_pairs


def exact_match(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """The hypotheses that equal their reference, in percent; white space at the ends does not count.

    Raises:
        DataError: The numbers of strings differ, or are 0.
    """
    check_pairs(hypotheses, references)
    pairs = zip(hypotheses, references, strict=True)
    num_equal = sum(hypothesis.strip() == reference.strip() for hypothesis, reference in pairs)
    return 100 * num_equal / len(hypotheses)
