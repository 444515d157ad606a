"""The Transformer encoder-decoder."""

from seqtrain.models.transformer.schema import TransformerConfig

__all__ = ["TransformerConfig"]
