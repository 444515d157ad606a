"""The schema of the Transformer; free of torch, for composing a config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seqtrain.config import Problem, register_model
from seqtrain.models.schema import ModelConfig
from seqtrain.nn.options import Activation, LayerOptions

__all__ = ["TransformerConfig", "check_heads", "check_probabilities"]


def check_heads(config: object, side: str) -> Iterator[Problem]:
    """The problems of one side's sizes: all positive, and the heads divide the width."""
    for name in ("layers", "embed_dim", "ffn_embed_dim", "attention_heads"):
        value = getattr(config, f"{side}_{name}")
        if value < 1:
            yield Problem(f"{side}_{name}", f"must be at least 1, but is {value}")
            return
    width, heads = getattr(config, f"{side}_embed_dim"), getattr(config, f"{side}_attention_heads")
    if width % heads != 0:
        yield Problem(f"{side}_attention_heads", f"must divide {side}_embed_dim ({width}), but is {heads}")


def check_probabilities(config: object) -> Iterator[Problem]:
    """The problems of the dropouts: each is a probability below 1."""
    for name in ("dropout", "attention_dropout", "activation_dropout"):
        value = getattr(config, name)
        if not 0 <= value < 1:
            yield Problem(name, f"must be in [0, 1), but is {value}")


@dataclass(kw_only=True)
class TransformerConfig(ModelConfig):
    """The Transformer encoder-decoder (Vaswani et al., 2017); its defaults are the base model of that paper."""

    encoder_layers: int = 6
    """Layers of the encoder."""
    encoder_embed_dim: int = 512
    """Width of the encoder, in features."""
    encoder_ffn_embed_dim: int = 2048
    """Width inside the encoder's feed-forward networks."""
    encoder_attention_heads: int = 8
    """Attention heads of the encoder; they divide its width."""
    encoder_normalize_before: bool = False
    """Normalise before each sublayer of the encoder (pre-norm) instead of after it (post-norm)."""
    encoder_learned_pos: bool = False
    """Learned instead of sinusoidal source positions."""
    decoder_layers: int = 6
    """Layers of the decoder."""
    decoder_embed_dim: int = 512
    """Width of the decoder, in features."""
    decoder_ffn_embed_dim: int = 2048
    """Width inside the decoder's feed-forward networks."""
    decoder_attention_heads: int = 8
    """Attention heads of the decoder; they divide its width."""
    decoder_normalize_before: bool = False
    """Normalise before each sublayer of the decoder (pre-norm) instead of after it (post-norm)."""
    decoder_learned_pos: bool = False
    """Learned instead of sinusoidal target positions."""
    decoder_input_dim: int | None = None
    """Width of the target embeddings; null: that of the decoder. A linear map stands between the two if they differ."""
    decoder_output_dim: int | None = None
    """Width of the features that the output layer reads; null: that of the decoder. Likewise."""
    share_decoder_input_output_embed: bool = False
    """The output layer is the target embedding table."""
    share_all_embeddings: bool = False
    """One table embeds sources and targets and is the output layer; needs a joined vocabulary."""
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
    max_source_positions: int = 1024
    """The longest source, in tokens with the end symbol; longer ones are left out of training, and counted."""
    max_target_positions: int = 1024
    """The longest target, likewise."""

    def problems(self) -> Iterator[Problem]:
        """Sizes fit together; probabilities are probabilities."""
        yield from check_heads(self, "encoder")
        yield from check_heads(self, "decoder")
        yield from check_probabilities(self)
        for name in ("max_source_positions", "max_target_positions", "decoder_input_dim", "decoder_output_dim"):
            value = getattr(self, name)
            if value is not None and value < 1:
                yield Problem(name, f"must be at least 1, but is {value}")
        if self.share_all_embeddings and self.encoder_embed_dim != self.input_dim:
            yield Problem(
                "share_all_embeddings",
                f"needs encoder_embed_dim ({self.encoder_embed_dim}) to be the width of the target embeddings "
                f"({self.input_dim})",
            )
        if self.ties_output and self.input_dim != self.output_dim:
            yield Problem(
                "decoder_output_dim",
                f"must be the width of the target embeddings ({self.input_dim}), which the output layer shares, "
                f"but is {self.output_dim}",
            )

    @property
    def input_dim(self) -> int:
        """Width of the target embeddings."""
        return self.decoder_embed_dim if self.decoder_input_dim is None else self.decoder_input_dim

    @property
    def output_dim(self) -> int:
        """Width of the features that the output layer reads."""
        return self.decoder_embed_dim if self.decoder_output_dim is None else self.decoder_output_dim

    @property
    def ties_output(self) -> bool:
        """Whether the output layer is the target embedding table."""
        return self.share_decoder_input_output_embed or self.share_all_embeddings

    def encoder_options(self) -> LayerOptions:
        """The settings of an encoder layer."""
        return LayerOptions(
            embed_dim=self.encoder_embed_dim,
            ffn_embed_dim=self.encoder_ffn_embed_dim,
            num_heads=self.encoder_attention_heads,
            normalize_before=self.encoder_normalize_before,
            activation=self.activation_fn,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            activation_dropout=self.activation_dropout,
        )

    def decoder_options(self) -> LayerOptions:
        """The settings of a decoder layer."""
        return LayerOptions(
            embed_dim=self.decoder_embed_dim,
            ffn_embed_dim=self.decoder_ffn_embed_dim,
            num_heads=self.decoder_attention_heads,
            normalize_before=self.decoder_normalize_before,
            activation=self.activation_fn,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            activation_dropout=self.activation_dropout,
            memory_dim=self.encoder_embed_dim,
        )


register_model("transformer", TransformerConfig, at=".model:Transformer")
