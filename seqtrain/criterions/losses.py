"""The loss that the built-in criterions share: cross-entropy, with or without label smoothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from seqtrain.criterions.base import LossOutput
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.models.base import FeatureModel
from seqtrain.nn.linear_cross_entropy import cross_entropy, linear_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from seqtrain.data.batch import Batch
    from seqtrain.models.base import Model


def token_loss(model: Model, batch: Batch, *, label_smoothing: float, sentence_avg: bool) -> LossOutput:
    """The loss of every target that is no padding.

    A model that gives its features and output weight gets the fused loss, which never holds all logits.
    """
    if batch.is_packed and isinstance(model, FeatureModel):
        loss_sum, nll_sum = _packed_loss(model, batch, label_smoothing)
        return LossOutput(loss_sum, len(batch) if sentence_avg else batch.num_tokens, {"nll_loss": nll_sum})
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


def _packed_loss(model: FeatureModel, batch: Batch, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """The loss and the negative log-likelihood of a packed batch; all its rows are computed, for their number is known.

    Rows that stand for no token get features of zero, and so no gradient; their logits are 0, and the loss of each is
    log V, whatever its target and the smoothing are.
    """
    targets = batch.targets.flatten()  # (1, R) -> (R,)
    is_padding = targets == Vocabulary.pad
    features = model.forward_features(batch).flatten(0, 1).masked_fill(is_padding[:, None], 0.0)  # (R, D)
    loss_sum, nll_sum = linear_cross_entropy(features, model.output_weight, targets, label_smoothing=label_smoothing)
    excess = is_padding.sum(dtype=loss_sum.dtype) * math.log(len(model.output_weight))
    return loss_sum - excess, nll_sum - excess
