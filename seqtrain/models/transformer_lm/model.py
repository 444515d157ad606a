"""The Transformer language model.

Shapes: B sequences, T tokens, R rows (see `Layout`), D features, V entries of the vocabulary, K hypotheses a sentence,
N = B * K.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from seqtrain.models.base import DecoderCache, DecoderModel, TokenCounts
from seqtrain.models.transformer.parts import parts_of
from seqtrain.models.transformer_lm.schema import TransformerLMConfig
from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.embedding import EmbeddingOptions, InputEmbedding
from seqtrain.nn.flops import BACKWARD_AND_FORWARD, output_flops, stack_flops
from seqtrain.nn.init import embedding_table, linear_without_bias
from seqtrain.nn.layout import Layout
from seqtrain.nn.prepared_decoder import DecoderParts
from seqtrain.nn.transformer import DecoderStack

if TYPE_CHECKING:
    from seqtrain.data.batch import Batch
    from seqtrain.tasks.base import Task


class TransformerLM(DecoderModel):
    """The decoder of a Transformer alone, as in GPT (Radford et al., 2018), with fairseq's options and numerics."""

    def __init__(self, config: TransformerLMConfig, task: Task) -> None:
        super().__init__(config, task)
        self.config: TransformerLMConfig = config
        num_types = len(task.target_vocabulary)
        padding = self.padding_index = task.target_vocabulary.pad
        self.target_embedding = embedding_table(num_types, config.input_dim, padding)
        self.output_projection: nn.Linear | None = None
        if not config.share_decoder_input_output_embed:
            self.output_projection = nn.Linear(config.output_dim, num_types, bias=False)
            nn.init.normal_(self.output_projection.weight, mean=0.0, std=config.output_dim**-0.5)
        self.decoder_input = InputEmbedding(
            EmbeddingOptions(
                table_dim=config.input_dim,
                embed_dim=config.decoder_embed_dim,
                max_positions=config.max_target_positions,
                padding_index=padding,
                positions=not config.no_token_positional_embeddings,
                learned_positions=config.decoder_learned_pos,
                scale=not config.no_scale_embedding,
                norm=config.layernorm_embedding,
                dropout=config.dropout,
            )
        )
        self.decoder = DecoderStack(
            config.decoder_layers, config.layer_options(), final_norm=not config.no_decoder_final_norm
        )
        self.feature_projection: nn.Linear | None = None
        if config.output_dim != config.decoder_embed_dim:
            self.feature_projection = linear_without_bias(config.decoder_embed_dim, config.output_dim)

    @property
    def max_positions(self) -> tuple[int, int]:
        """There is no source; the longest target, in tokens."""
        return super().max_positions[0], self.config.max_target_positions

    @property
    def output_weight(self) -> Tensor:
        """The output layer (V, D), which has no bias; see `FeatureModel`."""
        return self.target_embedding.weight if self.output_projection is None else self.output_projection.weight

    def training_flops(self, counts: TokenCounts) -> float:
        """See `Model`; exact but for the lengths, of which the mean is taken."""
        num_tokens, config = counts.num_target_tokens, self.config
        flops = stack_flops(
            config.decoder_layers, config.layer_options(), num_tokens=num_tokens, num_sentences=counts.num_sentences
        )
        flops += output_flops(num_tokens, self.output_weight, (self.decoder_input.projection, self.feature_projection))
        return BACKWARD_AND_FORWARD * flops

    def forward(self, tokens: Tensor) -> Tensor:
        """See `DecoderModel`: (B, T) -> logits (B, T, V)."""
        return functional.linear(self.features(tokens), self.output_weight)

    def forward_features(self, batch: Batch) -> Tensor:
        """The features (B, T, D) that the output layer reads; see `FeatureModel`."""
        return self.features(batch.previous_tokens)

    def features(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, D)."""
        layout = Layout.of(tokens, self.padding_index)
        x = self.decoder_input(tokens, self.target_embedding.weight, layout)  # (B, T) -> (R, D)
        return layout.to_matrix(self._project(self.decoder(x, layout)))

    def init_cache(self, batch_size: int, beam_size: int) -> DecoderCache:
        """See `DecoderModel`."""
        return self.decoder.init_cache(batch_size, beam_size)

    def decode_step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """See `DecoderModel`: (N,) -> logits (N, V)."""
        assert isinstance(cache, TransformerCache)
        layout = Layout(len(tokens), 1, len(tokens))
        x = self.decoder_input(tokens[:, None], self.target_embedding.weight, layout, cache.num_steps)  # (N, D)
        return functional.linear(self._project(self.decoder.step(x, cache)), self.output_weight)

    def decoder_parts(self) -> DecoderParts:
        """See `PreparesDecoder`."""
        return parts_of(self)

    def _project(self, features: Tensor) -> Tensor:
        return features if self.feature_projection is None else self.feature_projection(features)
