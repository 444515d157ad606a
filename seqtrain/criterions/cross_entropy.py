"""Cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqtrain.config import register_criterion
from seqtrain.criterions.base import Criterion, CriterionConfig, LossOutput

if TYPE_CHECKING:
    from seqtrain.data.batch import Batch
    from seqtrain.models.base import Model


@dataclass(kw_only=True)
class CrossEntropyConfig(CriterionConfig):
    """The negative log-likelihood of the targets."""

    sentence_avg: bool = False
    """Average over sentences instead of target tokens."""


@register_criterion("cross_entropy", CrossEntropyConfig)
class CrossEntropy(Criterion):
    """-Σ log p(target), over the targets that are no padding."""

    config: CrossEntropyConfig

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        """See `Criterion`."""
        from seqtrain.criterions.losses import token_loss

        return token_loss(model, batch, label_smoothing=0.0, sentence_avg=self.config.sentence_avg)
