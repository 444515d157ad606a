"""The Transformer language model."""

from seqtrain.models.transformer_lm.schema import TransformerLMConfig

__all__ = ["TransformerLMConfig"]
