"""Criterions: the losses. Everything that the author of one needs is importable from here."""

from seqtrain.config import register_criterion, registry
from seqtrain.criterions.base import Criterion, CriterionConfig, LossOutput

registry.declare_kind("criterion", CriterionConfig)

__all__ = ["Criterion", "CriterionConfig", "LossOutput", "register_criterion"]

# The built-ins register themselves when their schemas are imported, which needs the names above.
# ruff: noqa: E402
from seqtrain.criterions.cross_entropy import CrossEntropyConfig as CrossEntropyConfig
from seqtrain.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyConfig as LabelSmoothedCrossEntropyConfig,
)
