"""Layers and stacks against torch.nn's, and their options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqtrain.nn.attention import Memory
from seqtrain.nn.attention_backends import padding_bias
from seqtrain.nn.layout import Layout
from seqtrain.nn.options import Activation, LayerOptions
from seqtrain.nn.transformer import DecoderLayer, DecoderStack, EncoderLayer, EncoderStack, ResidualNorm

DIM = 8
SIZES: dict[str, Any] = {"embed_dim": DIM, "ffn_embed_dim": 12, "num_heads": 2}
LENGTHS = torch.tensor([4, 2])
RENAMED = {
    "self_attention.query_key_value.": "self_attn.in_proj_",
    "self_attention.output.": "self_attn.out_proj.",
    "cross_attention.output.": "multihead_attn.out_proj.",
    "self_attention_norm.": "norm1.",
    "feed_forward.inner.": "linear1.",
    "feed_forward.outer.": "linear2.",
}


def torch_state(ours: nn.Module) -> dict[str, Tensor]:
    """Our layer's parameters under the names of torch.nn's layer."""
    state: dict[str, Tensor] = {}
    has_memory = "cross_attention.query.weight" in ours.state_dict()
    renamed = {
        **RENAMED,
        "cross_attention_norm.": "norm2.",
        "feed_forward_norm.": "norm3." if has_memory else "norm2.",
    }
    for name, value in ours.state_dict().items():
        for old, new in renamed.items():
            if name.startswith(old):
                state[name.replace(old, new)] = value
    if has_memory:
        for kind in ("weight", "bias"):
            parts = [ours.state_dict()[f"cross_attention.{part}.{kind}"] for part in ("query", "key_value")]
            state[f"multihead_attn.in_proj_{kind}"] = torch.cat(parts)
    return state


@pytest.mark.parametrize("normalize_before", [False, True])
@pytest.mark.parametrize("activation", list(Activation))
def test_an_encoder_layer_is_that_of_torch(normalize_before: bool, activation: Activation) -> None:
    torch.manual_seed(1)
    ours = EncoderLayer(LayerOptions(**SIZES, normalize_before=normalize_before, activation=activation))
    reference = nn.TransformerEncoderLayer(
        DIM, 2, 12, dropout=0.0, activation=activation.value, batch_first=True, norm_first=normalize_before
    )
    reference.load_state_dict(torch_state(ours))
    x, layout = torch.randn(2, 4, DIM), Layout(2, 4, 8)
    padding = torch.arange(4) >= LENGTHS[:, None]
    output = layout.to_matrix(ours(layout.to_rows(x), layout, padding_bias(LENGTHS, 4)))
    assert_close(output[~padding], reference(x, src_key_padding_mask=padding)[~padding])


@pytest.mark.parametrize("normalize_before", [False, True])
def test_a_decoder_layer_is_that_of_torch(normalize_before: bool) -> None:
    torch.manual_seed(1)
    ours = DecoderLayer(LayerOptions(**SIZES, normalize_before=normalize_before, memory_dim=DIM))
    reference = nn.TransformerDecoderLayer(DIM, 2, 12, dropout=0.0, batch_first=True, norm_first=normalize_before)
    reference.load_state_dict(torch_state(ours))
    x, layout = torch.randn(2, 3, DIM), Layout(2, 3, 6)
    memory, memory_layout = torch.randn(2, 4, DIM), Layout(2, 4, 8)
    output = ours(
        layout.to_rows(x), layout, Memory(memory_layout.to_rows(memory), memory_layout, padding_bias(LENGTHS, 4))
    )
    expected = reference(
        x,
        memory,
        tgt_mask=torch.ones(3, 3, dtype=torch.bool).triu(1),
        memory_key_padding_mask=torch.arange(4) >= LENGTHS[:, None],
    )
    assert_close(layout.to_matrix(output), expected)


def test_a_layer_without_memory_has_no_cross_attention() -> None:
    names = DecoderLayer(LayerOptions(**SIZES)).state_dict()
    assert not any("cross" in name for name in names)


@pytest.mark.parametrize(("normalize_before", "final_norm", "expected"), [(True, True, True), (True, False, False)])
def test_the_last_norm_of_a_pre_norm_decoder_can_be_left_out(
    normalize_before: bool, final_norm: bool, expected: bool
) -> None:
    stack = DecoderStack(1, LayerOptions(**SIZES, normalize_before=normalize_before), final_norm=final_norm)
    assert (stack.norm is not None) is expected


@pytest.mark.parametrize("stack", [EncoderStack, DecoderStack])
def test_post_norm_stacks_have_no_last_norm(stack: Any) -> None:
    assert stack(1, LayerOptions(**SIZES)).norm is None


@pytest.mark.parametrize("normalize_before", [False, True])
def test_dropout_acts_on_the_sublayer_not_on_the_residual(normalize_before: bool) -> None:
    """A sublayer that gives zeros leaves the residual as it was, whatever is dropped."""
    norm = ResidualNorm(LayerOptions(**SIZES, normalize_before=normalize_before, dropout=0.9))
    x = torch.randn(5, DIM)
    expected = x if normalize_before else nn.functional.layer_norm(x, (DIM,))
    assert_close(norm.leave(x, torch.zeros(5, DIM)), expected)
