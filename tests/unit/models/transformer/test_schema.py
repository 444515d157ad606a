from __future__ import annotations

from typing import Any

import pytest

from seqtrain.models.transformer import TransformerConfig


def faults(**settings: Any) -> list[str]:
    return [problem.key for problem in TransformerConfig(**settings).problems()]


def test_the_defaults_are_the_base_model_of_the_paper() -> None:
    """Vaswani et al. (2017), table 3."""
    config = TransformerConfig()
    options = config.decoder_options()
    assert (options.embed_dim, options.ffn_embed_dim, options.num_heads, options.dropout) == (512, 2048, 8, 0.1)
    assert (config.encoder_layers, config.decoder_layers) == (6, 6)
    assert not options.normalize_before
    assert options.memory_dim == 512
    assert config.encoder_options().memory_dim is None


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({}, []),
        ({"encoder_attention_heads": 7}, ["encoder_attention_heads"]),
        ({"decoder_attention_heads": 0}, ["decoder_attention_heads"]),
        ({"encoder_layers": 0}, ["encoder_layers"]),
        ({"dropout": 1.0}, ["dropout"]),
        ({"attention_dropout": -0.1, "activation_dropout": 2.0}, ["attention_dropout", "activation_dropout"]),
        ({"max_source_positions": 0}, ["max_source_positions"]),
        ({"decoder_output_dim": 0}, ["decoder_output_dim"]),
        ({"decoder_output_dim": 256}, []),
        ({"decoder_output_dim": 256, "share_decoder_input_output_embed": True}, ["decoder_output_dim"]),
        ({"encoder_embed_dim": 256, "share_all_embeddings": True}, ["share_all_embeddings"]),
        ({"encoder_embed_dim": 256}, []),
        ({"decoder_input_dim": 64, "decoder_output_dim": 64, "share_decoder_input_output_embed": True}, []),
    ],
)
def test_what_does_not_fit_together_is_named(settings: dict[str, Any], keys: list[str]) -> None:
    assert faults(**settings) == keys
