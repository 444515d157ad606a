"""BLEU, as sacrebleu counts it."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.errors import ConfigError
from seqtrain.evaluation.pairs import check_pairs


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenizer: str = "13a") -> float:
    """BLEU of a whole corpus (Papineni et al., 2002), in percent, with sacrebleu's exponential smoothing.

    Args:
        hypotheses: Detokenized text, one string a sentence.
        references: One for each hypothesis.
        tokenizer: One of sacrebleu's: 13a for languages with spaces, zh, char, ..., none for text that is tokenized
            already.

    Raises:
        DataError: The numbers of strings differ, or are 0.
        ConfigError: sacrebleu has no such tokenizer.
    """
    from sacrebleu.metrics.bleu import BLEU

    check_pairs(hypotheses, references)
    if tokenizer not in BLEU.TOKENIZERS:
        raise ConfigError(
            f"sacrebleu has no tokenizer {tokenizer!r}", remedy=f"choose one of {', '.join(BLEU.TOKENIZERS)}"
        )
    # force: text that looks tokenized is no reason to write a warning into the middle of a training run
    metric = BLEU(tokenize=tokenizer, force=True)
    return float(metric.corpus_score(list(hypotheses), [list(references)]).score)
