"""Label-smoothed cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqtrain.config import Problem, register_criterion
from seqtrain.criterions.base import Criterion, CriterionConfig, LossOutput

if TYPE_CHECKING:
    from seqtrain.data.batch import Batch
    from seqtrain.models.base import Model


@dataclass(kw_only=True)
class LabelSmoothedCrossEntropyConfig(CriterionConfig):
    """Cross-entropy with a part of the probability mass spread over all types (Szegedy et al., 2016)."""

    label_smoothing: float = 0.1
    """The mass ε that is spread; 0 is plain cross-entropy."""
    sentence_avg: bool = False
    """Average over sentences instead of target tokens."""

    def problems(self) -> Iterator[Problem]:
        """A mass is a probability."""
        if not 0 <= self.label_smoothing < 1:
            yield Problem("label_smoothing", f"must be in [0, 1), but is {self.label_smoothing}")


@register_criterion("label_smoothed_cross_entropy", LabelSmoothedCrossEntropyConfig)
class LabelSmoothedCrossEntropy(Criterion):
    """Σ (1 - ε - e) nll + e Σ_v -log p(v) with e = ε / (V - 1), over the targets that are no padding.

    So the target has the mass 1 - ε and each other type e, as in fairseq since 2021.
    """

    config: LabelSmoothedCrossEntropyConfig

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        """See `Criterion`."""
        from seqtrain.criterions.losses import token_loss

        return token_loss(
            model, batch, label_smoothing=self.config.label_smoothing, sentence_avg=self.config.sentence_avg
        )
