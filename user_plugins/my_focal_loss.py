"""criterion=my_focal_loss: cross-entropy that counts easy tokens less (Lin et al., 2017, arXiv:1708.02002)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from seqtrain.config import Problem
from seqtrain.criterions import Criterion, CriterionConfig, LossOutput, register_criterion

if TYPE_CHECKING:
    from seqtrain.data.batch import Batch
    from seqtrain.models import Model


@dataclass(kw_only=True)
class MyFocalLossConfig(CriterionConfig):
    """Focal loss: -(1 - p) ** gamma * log(p), where p is the probability of the target (Lin et al., 2017)."""

    gamma: float = 2.0
    """How much less an easy token counts; 0 is cross-entropy."""

    def problems(self) -> Iterator[Problem]:
        """Shown all at once, before any data is read."""
        if self.gamma < 0:
            yield Problem("gamma", f"must be at least 0, but is {self.gamma}")


@register_criterion("my_focal_loss", MyFocalLossConfig)
class MyFocalLoss(Criterion):
    """The sum of the focal loss over the target tokens of a batch, padding left out."""

    config: MyFocalLossConfig

    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        """See `Criterion`."""
        logits = model.forward_batch(batch).flatten(0, 1)  # (B, T, V) -> (B * T, V)
        rows = logits[batch.target_positions]  # (N, V), N targets that are no padding
        targets = batch.targets.flatten()[batch.target_positions]  # (N,)
        # In float32: under bf16 autocast a sum of thousands of logarithms would keep three digits.
        log_probabilities = rows.float().log_softmax(dim=-1).gather(-1, targets[:, None]).squeeze(-1)  # (N,)
        # 1 - p, kept off 0, where the power has no derivative for gamma < 1.
        misses = (-torch.expm1(log_probabilities)).clamp_min(1e-6)
        loss = -(misses**self.config.gamma * log_probabilities).sum()
        return LossOutput(loss, batch.num_tokens, {"nll_loss": -log_probabilities.detach().sum()})
