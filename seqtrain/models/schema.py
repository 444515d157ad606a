"""The base of every model's schema; free of torch, for composing a config."""

from __future__ import annotations

from dataclasses import dataclass

from seqtrain.config import PluginConfig


@dataclass(kw_only=True)
class ModelConfig(PluginConfig):
    """What every model can be told: nothing, so far."""
