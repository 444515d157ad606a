from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from seqtrain.nn.attention import CrossAttention, Memory, SelfAttention
from seqtrain.nn.layout import Layout
from seqtrain.nn.options import LayerOptions

DIM = 64


def options(memory_dim: int | None = None) -> LayerOptions:
    return LayerOptions(embed_dim=DIM, ffn_embed_dim=8, num_heads=4, memory_dim=memory_dim)


def bound(gain: float, fan_in: int, fan_out: int) -> float:
    """Xavier-uniform weights lie within gain √(6 / (fan in + fan out))."""
    return float(gain * (6 / (fan_in + fan_out)) ** 0.5)


def test_each_projection_of_self_attention_is_drawn_by_itself() -> None:
    torch.manual_seed(1)
    attention = SelfAttention(options())
    for block in attention.query_key_value.weight.chunk(3):
        assert block.abs().max().item() == pytest.approx(bound(2**-0.5, DIM, DIM), rel=0.01)
    assert attention.output.weight.abs().max().item() == pytest.approx(bound(1.0, DIM, DIM), rel=0.01)
    assert attention.output.bias.count_nonzero() == 0


@pytest.mark.parametrize(("memory_dim", "gain"), [(DIM, 2**-0.5), (96, 1.0)])
def test_cross_attention_to_another_width_is_drawn_without_the_gain(memory_dim: int, gain: float) -> None:
    torch.manual_seed(1)
    attention = CrossAttention(options(memory_dim))
    assert attention.query.weight.abs().max().item() == pytest.approx(bound(gain, DIM, DIM), rel=0.01)
    for block in attention.key_value.weight.chunk(2):
        assert block.abs().max().item() == pytest.approx(bound(gain, memory_dim, DIM), rel=0.01)


def test_self_attention_is_that_of_torch() -> None:
    torch.manual_seed(1)
    ours = SelfAttention(options())
    reference = torch.nn.MultiheadAttention(DIM, 4, batch_first=True)
    reference.load_state_dict(
        {
            "in_proj_weight": ours.query_key_value.weight,
            "in_proj_bias": ours.query_key_value.bias,
            "out_proj.weight": ours.output.weight,
            "out_proj.bias": ours.output.bias,
        }
    )
    x = torch.randn(3, 5, DIM)
    layout = Layout(3, 5, 15)
    output = layout.to_matrix(ours(layout.to_rows(x), layout))
    assert_close(output, reference(x, x, x, need_weights=False)[0])


def test_steps_of_self_attention_are_its_forward_pass() -> None:
    torch.manual_seed(1)
    attention = SelfAttention(options()).eval()
    layout = Layout(2, 4, 8)
    x = torch.randn(8, DIM)
    whole = layout.to_matrix(attention(x, layout, is_causal=True))
    query, key, value = attention.project(x, layout)
    last = attention.attend_step(query[:, :, -1:], key, value, None)
    assert_close(last, whole[:, -1])


def test_steps_of_cross_attention_are_its_forward_pass() -> None:
    torch.manual_seed(1)
    attention = CrossAttention(options(DIM)).eval()
    layout = Layout(2, 3, 6)
    bias = torch.tensor([[0.0] * 5, [0.0, 0.0, *[float("-inf")] * 3]])[:, None, None]
    memory = Memory(torch.randn(10, DIM), Layout(2, 5, 10), bias)
    x = torch.randn(6, DIM)
    key, value = attention.project_memory(memory)
    stepped = attention.attend_step(attention.project(x, layout), key, value, memory.bias)
    assert_close(stepped, attention(x, layout, memory))
