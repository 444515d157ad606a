"""Models: the networks. Everything that the author of one needs is importable from here.

The base classes are `torch.nn.Module`s, so they are imported when they are first asked for: composing a config must
not import torch.
"""

from typing import TYPE_CHECKING, Any

from seqtrain.config import register_model, registry
from seqtrain.models.schema import ModelConfig

registry.declare_kind("model", ModelConfig)

if TYPE_CHECKING:
    from seqtrain.models.base import DecoderCache as DecoderCache
    from seqtrain.models.base import DecoderModel as DecoderModel
    from seqtrain.models.base import EncoderDecoderModel as EncoderDecoderModel
    from seqtrain.models.base import EncoderModel as EncoderModel
    from seqtrain.models.base import Model as Model

_NEED_TORCH = ("DecoderCache", "DecoderModel", "EncoderDecoderModel", "EncoderModel", "Model")

__all__ = ["ModelConfig", "register_model", *_NEED_TORCH]  # noqa: PLE0604 - the names of the tuple are served below


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        from seqtrain.models import base

        return getattr(base, name)
    raise AttributeError(f"module 'seqtrain.models' has no attribute {name!r}")


# The built-ins register themselves when their schemas are imported, which needs the names above.
# ruff: noqa: E402
from seqtrain.models.transformer import TransformerConfig as TransformerConfig
from seqtrain.models.transformer_lm import TransformerLMConfig as TransformerLMConfig
