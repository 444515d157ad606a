"""What a criterion promises to the rest of seqtrain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seqtrain.config import PluginConfig

if TYPE_CHECKING:
    from torch import Tensor

    from seqtrain.data.batch import Batch
    from seqtrain.models.base import Model
    from seqtrain.tasks.base import Task


@dataclass(kw_only=True)
class CriterionConfig(PluginConfig):
    """What every criterion can be told: nothing, so far."""


@dataclass
class LossOutput:
    """The loss of one batch, as sums: sums can be added over micro-batches and ranks, means cannot.

    Attributes:
        loss_sum: (), the sum over the batch, in nats; its gradient is taken.
        sample_size: What the sum is divided by in the end: target tokens, or sentences.
        logs: Sums to report, (): `nll_loss` (in nats, divided by the number of target tokens) and what else the
            criterion counts. `loss` need not be among them.
    """

    loss_sum: Tensor
    sample_size: int
    logs: dict[str, Tensor] = field(default_factory=dict)


class Criterion(ABC):
    """The base of all criterions: built with its config and the task."""

    def __init__(self, config: Any, task: Task) -> None:
        self.config = config
        self.task = task

    @abstractmethod
    def __call__(self, model: Model, batch: Batch) -> LossOutput:
        """The loss of a batch: a sum, never a mean."""
