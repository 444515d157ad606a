"""The Transformer encoder-decoder.

Shapes: B sentences, S source tokens, T target tokens, R rows (see `Layout`), D features of the decoder, M features of
the encoder, V entries of the target vocabulary, K hypotheses a sentence, N = B * K.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional

from seqtrain.errors import ConfigError
from seqtrain.models.base import DecoderCache, EncoderDecoderModel, TokenCounts
from seqtrain.models.transformer.parts import parts_of
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.nn.attention import Memory
from seqtrain.nn.attention_backends import padding_bias
from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.embedding import EmbeddingOptions, InputEmbedding
from seqtrain.nn.flops import BACKWARD_AND_FORWARD, output_flops, stack_flops
from seqtrain.nn.init import embedding_table, linear_without_bias
from seqtrain.nn.layout import Layout
from seqtrain.nn.packed_layout import PackedLayout
from seqtrain.nn.prepared_decoder import DecoderParts
from seqtrain.nn.transformer import DecoderStack, EncoderStack

if TYPE_CHECKING:
    from seqtrain.data.batch import Batch
    from seqtrain.tasks.base import Task


class Transformer(EncoderDecoderModel):
    """The Transformer (Vaswani et al., 2017), with fairseq's options and numerics.

    A table that several layers share is one parameter with one name: `target_embedding` serves the output layer, and
    the sources too, where those are tied to it.
    """

    takes_packed_batches = True

    def __init__(self, config: TransformerConfig, task: Task) -> None:
        super().__init__(config, task)
        self.config: TransformerConfig = config
        assert task.source_vocabulary is not None, "an encoder needs sources"
        num_sources, num_targets = len(task.source_vocabulary), len(task.target_vocabulary)
        padding = self.padding_index = task.target_vocabulary.pad
        if config.share_all_embeddings and task.source_vocabulary.fingerprint != task.target_vocabulary.fingerprint:
            raise ConfigError(
                "model.share_all_embeddings: the vocabularies of source and target differ "
                f"({num_sources} and {num_targets} entries)",
                remedy="set task.joined_vocabulary=true, or model.share_all_embeddings=false "
                "model.share_decoder_input_output_embed=true",
            )
        self.target_embedding = embedding_table(num_targets, config.input_dim, padding)
        self.source_embedding: nn.Embedding | None = None
        if not config.share_all_embeddings:
            self.source_embedding = embedding_table(num_sources, config.encoder_embed_dim, padding)
        self.output_projection: nn.Linear | None = None
        if not config.ties_output:
            self.output_projection = nn.Linear(config.output_dim, num_targets, bias=False)
            nn.init.normal_(self.output_projection.weight, mean=0.0, std=config.output_dim**-0.5)
        self.encoder_input = InputEmbedding(_source_options(config, padding))
        self.encoder = EncoderStack(config.encoder_layers, config.encoder_options())
        self.decoder_input = InputEmbedding(_target_options(config, padding))
        self.decoder = DecoderStack(config.decoder_layers, config.decoder_options())
        self.feature_projection: nn.Linear | None = None
        if config.output_dim != config.decoder_embed_dim:
            self.feature_projection = linear_without_bias(config.decoder_embed_dim, config.output_dim)

    @property
    def max_positions(self) -> tuple[int, int]:
        """The longest source and target, in tokens."""
        return self.config.max_source_positions, self.config.max_target_positions

    @property
    def output_weight(self) -> Tensor:
        """The output layer (V, D), which has no bias; see `FeatureModel`."""
        return self.target_embedding.weight if self.output_projection is None else self.output_projection.weight

    def training_flops(self, counts: TokenCounts) -> float:
        """See `Model`; exact but for the lengths, of which the means are taken."""
        config, num_targets = self.config, counts.num_target_tokens
        flops = stack_flops(
            config.encoder_layers,
            config.encoder_options(),
            num_tokens=counts.num_source_tokens,
            num_sentences=counts.num_sentences,
        )
        flops += stack_flops(
            config.decoder_layers,
            config.decoder_options(),
            num_tokens=num_targets,
            num_sentences=counts.num_sentences,
            num_memory_tokens=counts.num_source_tokens,
        )
        maps = (self.decoder_input.projection, self.feature_projection)
        flops += output_flops(num_targets, self.output_weight, maps)
        return BACKWARD_AND_FORWARD * flops

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        """See `EncoderDecoderModel`: (B, S), (B,), (B, T) -> logits (B, T, V)."""
        memory = self.encode(source_tokens, source_lengths)
        features = self._write(previous_tokens, Layout.of(previous_tokens, self.padding_index), memory)
        return functional.linear(features, self.output_weight)

    def forward_batch(self, batch: Batch) -> Tensor:
        """See `Model`; the logits of a packed batch are (1, R, V)."""
        return functional.linear(self.forward_features(batch), self.output_weight)

    def forward_features(self, batch: Batch) -> Tensor:
        """The features (B, T, D) that the output layer reads, (1, R, D) of a packed batch; see `FeatureModel`."""
        assert batch.source_tokens is not None, "an encoder needs sources"
        if batch.packed_sources is not None and batch.packed_targets is not None:
            memory = self._read(batch.source_tokens, PackedLayout.of_tokens(batch.packed_sources), None)
            return self._write(batch.previous_tokens, PackedLayout.of_tokens(batch.packed_targets), memory)
        assert batch.source_lengths is not None, "an encoder needs sources"
        bias = None
        if batch.has_source_padding:
            bias = padding_bias(batch.source_lengths, batch.source_tokens.shape[1])
        memory = self._read(batch.source_tokens, Layout.of(batch.source_tokens, self.padding_index), bias)
        return self._write(batch.previous_tokens, Layout.of(batch.previous_tokens, self.padding_index), memory)

    def encode(self, source_tokens: Tensor, source_lengths: Tensor) -> Memory:
        """Read the sources (B, S) of lengths (B,)."""
        bias = padding_bias(source_lengths, source_tokens.shape[1])
        return self._read(source_tokens, Layout.of(source_tokens, self.padding_index), bias)

    def _read(self, source_tokens: Tensor, layout: Layout, bias: Tensor | None) -> Memory:
        table = self.target_embedding if self.source_embedding is None else self.source_embedding
        x = self.encoder_input(source_tokens, table.weight, layout)  # (B, S) -> (R, M)
        return Memory(self.encoder(x, layout, bias), layout, bias)

    def _write(self, previous_tokens: Tensor, layout: Layout, memory: Memory) -> Tensor:
        x = self.decoder_input(previous_tokens, self.target_embedding.weight, layout)  # (B, T) -> (R, D)
        return layout.to_batch(self._project(self.decoder(x, layout, memory)))  # (R, D) -> (B, T, D)

    def init_cache(self, encoded: Any, beam_size: int) -> DecoderCache:
        """See `EncoderDecoderModel`; the K hypotheses of a sentence share what is kept of its source."""
        assert isinstance(encoded, Memory)
        return self.decoder.init_cache(encoded.layout.batch_size, beam_size, encoded)

    def decode_step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """See `EncoderDecoderModel`: (N,) -> logits (N, V)."""
        assert isinstance(cache, TransformerCache)
        layout = Layout(len(tokens), 1, len(tokens))
        x = self.decoder_input(tokens[:, None], self.target_embedding.weight, layout, cache.num_steps)  # (N, D)
        return functional.linear(self._project(self.decoder.step(x, cache)), self.output_weight)

    def decoder_parts(self) -> DecoderParts:
        """See `PreparesDecoder`."""
        return parts_of(self)

    def _project(self, features: Tensor) -> Tensor:
        return features if self.feature_projection is None else self.feature_projection(features)


def _source_options(config: TransformerConfig, padding_index: int) -> EmbeddingOptions:
    return EmbeddingOptions(
        table_dim=config.encoder_embed_dim,
        embed_dim=config.encoder_embed_dim,
        max_positions=config.max_source_positions,
        padding_index=padding_index,
        positions=not config.no_token_positional_embeddings,
        learned_positions=config.encoder_learned_pos,
        scale=not config.no_scale_embedding,
        norm=config.layernorm_embedding,
        dropout=config.dropout,
    )


def _target_options(config: TransformerConfig, padding_index: int) -> EmbeddingOptions:
    return EmbeddingOptions(
        table_dim=config.input_dim,
        embed_dim=config.decoder_embed_dim,
        max_positions=config.max_target_positions,
        padding_index=padding_index,
        positions=not config.no_token_positional_embeddings,
        learned_positions=config.decoder_learned_pos,
        scale=not config.no_scale_embedding,
        norm=config.layernorm_embedding,
        dropout=config.dropout,
    )
