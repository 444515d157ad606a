"""Criterions: the losses. Everything that the author of one needs is importable from here."""

from seqtrain.config import register_criterion, registry
from seqtrain.criterions.base import Criterion, CriterionConfig, LossOutput

registry.declare_kind("criterion", CriterionConfig)

__all__ = ["Criterion", "CriterionConfig", "LossOutput", "register_criterion"]
