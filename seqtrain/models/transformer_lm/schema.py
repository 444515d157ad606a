"""The schema of the Transformer language model; free of torch, for composing a config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seqtrain.config import Problem, register_model
from seqtrain.models.schema import ModelConfig
from seqtrain.models.transformer.schema import check_heads, check_probabilities
from seqtrain.nn.options import Activation, LayerOptions

__all__ = ["TransformerLMConfig"]


@dataclass(kw_only=True)
class TransformerLMConfig(ModelConfig):
    """The Transformer language model: the decoder alone, pre-norm."""

    decoder_layers: int = 6
    """Layers."""
    decoder_embed_dim: int = 512
    """Width, in features."""
    decoder_ffn_embed_dim: int = 2048
    """Width inside the feed-forward networks."""
    decoder_attention_heads: int = 8
    """Attention heads; they divide the width."""
    decoder_normalize_before: bool = True
    """Normalise before each sublayer (pre-norm) instead of after it (post-norm), and once more at the end."""
    no_decoder_final_norm: bool = False
    """Leave out the norm at the end of a pre-norm decoder."""
    decoder_learned_pos: bool = False
    """Learned instead of sinusoidal positions."""
    decoder_input_dim: int | None = None
    """Width of the embeddings; null: decoder_embed_dim. A linear map stands between the two if they differ."""
    decoder_output_dim: int | None = None
    """Width of the features that the output layer reads; null: decoder_embed_dim. Likewise."""
    share_decoder_input_output_embed: bool = False
    """The output layer is the embedding table."""
    dropout: float = 0.1
    """Dropout probability on the embeddings and on the output of each sublayer."""
    attention_dropout: float = 0.0
    """Dropout probability on attention weights."""
    activation_dropout: float = 0.0
    """Dropout probability after the activation of feed-forward networks."""
    activation_fn: Activation = Activation.relu
    """The activation of feed-forward networks."""
    layernorm_embedding: bool = False
    """Normalise the embeddings, before dropout."""
    no_scale_embedding: bool = False
    """Do not multiply token embeddings by the square root of the width."""
    no_token_positional_embeddings: bool = False
    """Add no positions to the embeddings."""
    max_target_positions: int = 1024
    """The longest sequence, in tokens; longer ones are left out of training, and counted."""

    def problems(self) -> Iterator[Problem]:
        """Sizes fit together; probabilities are probabilities."""
        yield from check_heads(self, "decoder")
        yield from check_probabilities(self)
        for name in ("max_target_positions", "decoder_input_dim", "decoder_output_dim"):
            value = getattr(self, name)
            if value is not None and value < 1:
                yield Problem(name, f"must be at least 1, but is {value}")
        if self.share_decoder_input_output_embed and self.input_dim != self.output_dim:
            yield Problem(
                "decoder_output_dim",
                f"must be the width of the embeddings ({self.input_dim}), which the output layer shares, "
                f"but is {self.output_dim}",
            )

    @property
    def input_dim(self) -> int:
        """Width of the embeddings."""
        return self.decoder_embed_dim if self.decoder_input_dim is None else self.decoder_input_dim

    @property
    def output_dim(self) -> int:
        """Width of the features that the output layer reads."""
        return self.decoder_embed_dim if self.decoder_output_dim is None else self.decoder_output_dim

    def layer_options(self) -> LayerOptions:
        """The settings of a layer."""
        return LayerOptions(
            embed_dim=self.decoder_embed_dim,
            ffn_embed_dim=self.decoder_ffn_embed_dim,
            num_heads=self.decoder_attention_heads,
            normalize_before=self.decoder_normalize_before,
            activation=self.activation_fn,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            activation_dropout=self.activation_dropout,
        )


register_model("transformer_lm", TransformerLMConfig, at=".model:TransformerLM")
