"""How a hypothesis is ranked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqtrain.generation.hypothesis import Hypothesis, Paths


@dataclass(frozen=True)
class LengthPenalty:
    """The score of a hypothesis: its log-probability over length ** exponent, the end symbol counted.

    Attributes:
        exponent: 1 ranks by the mean of the log-probabilities, 0 by their sum.
    """

    exponent: float

    def score(self, total: float, length: int) -> float:
        """The score of a hypothesis of `length` tokens whose log-probabilities sum to `total`."""
        return total / float(length**self.exponent)


def make_hypotheses(paths: Paths, origins: list[int], penalty: LengthPenalty) -> list[list[Hypothesis]]:
    """The hypotheses of B sentences, best first; of equal ones, the one that ended first.

    Args:
        paths: What the search wrote.
        origins: For each sentence the step that wrote the hypothesis's first token.
        penalty: Gives the scores.
    """
    # what a step added is the difference of the sums; those before the origin are 0
    positional_scores = paths.totals.diff(dim=2, prepend=torch.zeros(*paths.totals.shape[:2], 1))
    hypotheses = []
    for sentence, (count, origin) in enumerate(zip(paths.counts.tolist(), origins, strict=True)):
        ends = paths.ends[sentence, :count].tolist()
        candidates = [
            Hypothesis(
                tokens=paths.tokens[sentence, slot, origin : end + 1].clone(),
                score=penalty.score(float(paths.totals[sentence, slot, end]), end + 1 - origin),
                positional_scores=positional_scores[sentence, slot, origin : end + 1].clone(),
            )
            for slot, end in enumerate(ends)
        ]
        hypotheses.append(sorted(candidates, key=lambda hypothesis: hypothesis.score, reverse=True))
    return hypotheses


def target_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """The log-probability (B, T) float32 that logits (B, T, V) give to targets (B, T)."""
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    return -losses.view_as(targets)
