"""The output layer and the cross-entropy in one operation that never holds all logits.

Shapes: N tokens, D features, V entries of the vocabulary, C tokens of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["cross_entropy", "linear_cross_entropy"]

_CHUNK_BYTES = 2**23


class _LinearCrossEntropy(torch.autograd.Function):
    """Chunk by chunk: logits, loss, and at once the gradient, so that one chunk's logits is all that ever exists."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float
    ) -> tuple[Tensor, Tensor]:
        num_tokens, num_types = len(features), len(weight)
        spread = label_smoothing / (num_types - 1)
        chunk = max(64, _CHUNK_BYTES // (4 * num_types))
        features_grad = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        weight_grad = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        buffer = features.new_empty(min(chunk, num_tokens), num_types)
        nll = features.new_empty(num_tokens, dtype=torch.float32)
        norm = features.new_empty(num_tokens, dtype=torch.float32)
        for start in range(0, num_tokens, chunk):
            rows = slice(start, start + chunk)
            x, y = features[rows], targets[rows]
            logits = torch.mm(x, weight.t(), out=buffer[: len(x)])
            top = logits.amax(dim=1)
            picked = logits.gather(1, y[:, None])[:, 0]
            probabilities = torch.softmax(logits, dim=1, out=logits)
            norm[rows] = top - probabilities.amax(dim=1).log()  # the log-sum-exp of the logits
            nll[rows] = norm[rows] - picked
            rest = 1.0 - label_smoothing - spread
            probabilities.scatter_add_(1, y[:, None], probabilities.new_full((len(x), 1), -rest))
            if features_grad is not None:
                torch.mm(probabilities, weight, out=features_grad[rows])
            if weight_grad is not None:
                weight_grad.addmm_(probabilities.t(), x)
        nll_sum = nll.sum()
        loss_sum = nll_sum
        if label_smoothing > 0:
            total = weight.sum(dim=0)  # (D,)
            smooth_sum = num_types * norm.sum() - torch.dot(features.sum(dim=0), total)
            loss_sum = (1.0 - label_smoothing - spread) * nll_sum + spread * smooth_sum
            if features_grad is not None:
                features_grad.sub_(total, alpha=spread)
            if weight_grad is not None:
                weight_grad.sub_(features.sum(dim=0), alpha=spread)
        ctx.gradients = (features_grad, weight_grad)
        reported = nll_sum.clone()
        ctx.mark_non_differentiable(reported)
        return loss_sum, reported

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss_grad: Tensor, _: Any) -> tuple[Tensor | None, Tensor | None, None, None]:
        features_grad, weight_grad = ctx.gradients
        return (
            None if features_grad is None else features_grad * loss_grad,
            None if weight_grad is None else weight_grad * loss_grad,
            None,
            None,
        )


def linear_cross_entropy(
    features: Tensor, weight: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The label-smoothed cross-entropy of logits = features @ weight.T.

    Args:
        features: (N, D).
        weight: (V, D).
        targets: (N,) int64.
        label_smoothing: The probability mass that all types but the target share.

    Returns:
        The loss and the negative log-likelihood, each () and summed over the tokens, in nats.
    """
    loss_sum, nll_sum = _LinearCrossEntropy.apply(features, weight, targets, label_smoothing)  # type: ignore[no-untyped-call]
    return loss_sum, nll_sum


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The same loss from logits that are already there.

    Args:
        logits: (N, V).
        targets: (N,) int64.
        label_smoothing: The probability mass that all types but the target share.

    Returns:
        The loss and the negative log-likelihood, each () and summed over the tokens, in nats.
    """
    log_probabilities = functional.log_softmax(logits, dim=-1, dtype=torch.float32)
    nll_sum = -log_probabilities.gather(1, targets[:, None]).sum()
    if label_smoothing == 0.0:
        return nll_sum, nll_sum.detach()
    spread = label_smoothing / (logits.shape[1] - 1)
    loss_sum = (1.0 - label_smoothing - spread) * nll_sum - spread * log_probabilities.sum()
    return loss_sum, nll_sum.detach()
