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


def make_hypotheses(
    paths: Paths, origins: list[int], penalty: LengthPenalty, *, num_best: int
) -> list[list[Hypothesis]]:
    """The hypotheses of B sentences, best first; of equal ones, the one that ended first.

    Args:
        paths: What the search wrote.
        origins: For each sentence the step that wrote the hypothesis's first token.
        penalty: Gives the scores.
        num_best: The most of each sentence.
    """
    # what a step added is the difference of the sums; those before the origin are 0
    positional_scores = paths.totals.diff(dim=2, prepend=torch.zeros(*paths.totals.shape[:2], 1))
    last_totals = paths.totals.gather(2, paths.ends[:, :, None])[:, :, 0].tolist()
    hypotheses = []
    for sentence, (count, origin) in enumerate(zip(paths.counts.tolist(), origins, strict=True)):
        ends = paths.ends[sentence].tolist()
        scores = [penalty.score(last_totals[sentence][slot], ends[slot] + 1 - origin) for slot in range(count)]
        best = sorted(range(count), key=scores.__getitem__, reverse=True)[:num_best]
        hypotheses.append(
            [
                Hypothesis(
                    tokens=paths.tokens[sentence, slot, origin : ends[slot] + 1].clone(),
                    score=scores[slot],
                    positional_scores=positional_scores[sentence, slot, origin : ends[slot] + 1].clone(),
                )
                for slot in best
            ]
        )
    return hypotheses


def target_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """The log-probability (B, T) float32 that logits (B, T, V) give to targets (B, T)."""
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    return -losses.view_as(targets)
