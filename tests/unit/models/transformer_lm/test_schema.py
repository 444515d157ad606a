from __future__ import annotations

from typing import Any

import pytest

from seqtrain.models.transformer_lm import TransformerLMConfig


def test_a_language_model_is_pre_norm_by_default() -> None:
    assert TransformerLMConfig().layer_options().normalize_before
    assert TransformerLMConfig().layer_options().memory_dim is None


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({}, []),
        ({"decoder_attention_heads": 3}, ["decoder_attention_heads"]),
        ({"dropout": -1.0}, ["dropout"]),
        ({"max_target_positions": 0}, ["max_target_positions"]),
        ({"decoder_output_dim": 256, "share_decoder_input_output_embed": True}, ["decoder_output_dim"]),
        ({"decoder_input_dim": 256, "decoder_output_dim": 256, "share_decoder_input_output_embed": True}, []),
    ],
)
def test_what_does_not_fit_together_is_named(settings: dict[str, Any], keys: list[str]) -> None:
    assert [problem.key for problem in TransformerLMConfig(**settings).problems()] == keys
