from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from seqtrain.models.transformer_lm import TransformerLMConfig
from seqtrain.models.transformer_lm.model import TransformerLM
from seqtrain.nn.cache import TransformerCache
from seqtrain.testing import TinyTask

SIZES: dict[str, Any] = {
    "decoder_layers": 1,
    "decoder_embed_dim": 8,
    "decoder_ffn_embed_dim": 12,
    "decoder_attention_heads": 2,
}
STATE_NAMES = [
    "target_embedding.weight",
    "output_projection.weight",
    *(
        f"decoder.layers.0.{layer}.{kind}"
        for layer in (
            "self_attention.query_key_value",
            "self_attention.output",
            "self_attention_norm",
            "feed_forward.inner",
            "feed_forward.outer",
            "feed_forward_norm",
        )
        for kind in ("weight", "bias")
    ),
    "decoder.norm.weight",
    "decoder.norm.bias",
]


def build(**settings: Any) -> TransformerLM:
    torch.manual_seed(1)
    return TransformerLM(TransformerLMConfig(**{**SIZES, **settings}), TinyTask(has_sources=False))


def test_the_names_of_the_state_are_stable() -> None:
    assert sorted(build().state_dict()) == sorted(STATE_NAMES)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"share_decoder_input_output_embed": True}, {"output_projection.weight"}),
        ({"no_decoder_final_norm": True}, {"decoder.norm.weight", "decoder.norm.bias"}),
        ({"decoder_normalize_before": False}, {"decoder.norm.weight", "decoder.norm.bias"}),
    ],
)
def test_options_take_names_away(settings: dict[str, Any], missing: set[str]) -> None:
    assert set(STATE_NAMES) - set(build(**settings).state_dict()) == missing


@pytest.mark.parametrize("settings", [{}, {"decoder_input_dim": 6, "decoder_output_dim": 4}])
def test_a_long_text_is_continued_as_the_forward_pass_would(settings: dict[str, Any]) -> None:
    """300 tokens of one hypothesis: the cache grows several times."""
    model = build(**settings).eval()
    tokens = torch.randint(4, 12, (2, 300), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(tokens)
        cache = model.init_cache(2, 1)
        steps = [model.decode_step(column, cache) for column in tokens.unbind(dim=1)]
    assert isinstance(cache, TransformerCache)
    assert_close(torch.stack(steps, dim=1), expected, rtol=1e-4, atol=1e-5)


def test_the_longest_target_is_that_of_the_config() -> None:
    assert build(max_target_positions=64).max_positions[1] == 64
