"""chrF, as sacrebleu counts it."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.evaluation.pairs import check_pairs


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """chrF2 of a whole corpus (Popovic, 2015), in percent: the F-score of character 1- to 6-grams.

    Args:
        hypotheses: Detokenized text, one string a sentence.
        references: One for each hypothesis.

    Raises:
        DataError: The numbers of strings differ, or are 0.
    """
    from sacrebleu.metrics.chrf import CHRF

    check_pairs(hypotheses, references)
    return float(CHRF().corpus_score(list(hypotheses), [list(references)]).score)
