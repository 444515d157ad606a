"""What the Transformer with and without an encoder have in common when they write."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from seqtrain.nn.embedding import InputEmbedding
from seqtrain.nn.prepared_decoder import DecoderParts
from seqtrain.nn.transformer import DecoderStack

__all__ = ["HasDecoder", "parts_of"]


class HasDecoder(Protocol):
    """A model with a decoder.

    Attributes:
        decoder_input: From tokens to rows.
        target_embedding: The table of the tokens.
        decoder: The layers.
        feature_projection: Between the last layer and the output layer, where their widths differ.
    """

    decoder_input: InputEmbedding
    target_embedding: nn.Embedding
    decoder: DecoderStack
    feature_projection: nn.Linear | None

    @property
    def output_weight(self) -> Tensor:
        """The output layer (V, D), which has no bias."""
        ...


def parts_of(model: HasDecoder) -> DecoderParts:
    """What a step of generation goes through; see `PreparesDecoder`."""
    return DecoderParts(
        input=model.decoder_input,
        table=model.target_embedding.weight,
        stack=model.decoder,
        projection=model.feature_projection,
        output_weight=model.output_weight,
    )
