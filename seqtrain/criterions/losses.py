"""The loss that the built-in criterions share: cross-entropy, with or without label smoothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqtrain.criterions.base import LossOutput
from seqtrain.models.base import FeatureModel
from seqtrain.nn.linear_cross_entropy import cross_entropy, linear_cross_entropy

if TYPE_CHECKING:
    from seqtrain.data.batch import Batch
    from seqtrain.models.base import Model


def token_loss(model: Model, batch: Batch, *, label_smoothing: float, sentence_avg: bool) -> LossOutput:
    """The loss of every target that is no padding.

    A model that gives its features and output weight gets the fused loss, which never holds all logits.
    """
    targets = batch.targets.flatten()[batch.target_positions]  # (B, T) -> (N,)
    if isinstance(model, FeatureModel):
        features = model.forward_features(batch).flatten(0, 1)[batch.target_positions]  # (B, T, D) -> (N, D)
        loss_sum, nll_sum = linear_cross_entropy(
            features, model.output_weight, targets, label_smoothing=label_smoothing
        )
    else:
        logits = model.forward_batch(batch).flatten(0, 1)[batch.target_positions]  # (B, T, V) -> (N, V)
        loss_sum, nll_sum = cross_entropy(logits, targets, label_smoothing=label_smoothing)
    sample_size = len(batch) if sentence_avg else batch.num_tokens
    return LossOutput(loss_sum, sample_size, {"nll_loss": nll_sum})
