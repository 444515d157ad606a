"""Operations of matrix products, counted by hand for one layer.

A product of (R, K) and (K, N) takes 2 R K N.
"""

from __future__ import annotations

import torch
from torch import nn

from seqtrain.nn.flops import output_flops, stack_flops
from seqtrain.nn.options import LayerOptions

OPTIONS = LayerOptions(embed_dim=4, ffn_embed_dim=16, num_heads=2)


def test_a_layer_multiplies_by_four_square_maps_and_two_of_the_feed_forward_network() -> None:
    one_token = 4 * (2 * 4 * 4) + 2 * (2 * 4 * 16)
    scores_and_values = 2 * (2 * 4)  # one query, one key, one value
    assert stack_flops(1, OPTIONS, num_tokens=1, num_sentences=1) == one_token + scores_and_values


def test_attention_grows_with_the_square_of_the_length() -> None:
    def attention(num_tokens: int, num_sentences: int) -> float:
        whole = stack_flops(1, OPTIONS, num_tokens=num_tokens, num_sentences=num_sentences)
        return whole - num_tokens * (4 * (2 * 4 * 4) + 2 * (2 * 4 * 16))

    assert attention(6, 1) == 2 * (2 * 6 * 6 * 4)
    assert attention(6, 2) == 2 * attention(3, 1)


def test_a_memory_adds_keys_and_values_of_its_tokens_and_queries_over_them() -> None:
    with_memory = LayerOptions(embed_dim=4, ffn_embed_dim=16, num_heads=2, memory_dim=6)
    added = stack_flops(1, with_memory, num_tokens=3, num_sentences=1, num_memory_tokens=5) - stack_flops(
        1, OPTIONS, num_tokens=3, num_sentences=1
    )
    queries_and_outputs, keys_and_values = 2 * (2 * 3 * 4 * 4), 2 * (2 * 5 * 6 * 4)
    assert added == queries_and_outputs + keys_and_values + 2 * (2 * 3 * 5 * 4)


def test_layers_add_up() -> None:
    one, six = (stack_flops(number, OPTIONS, num_tokens=8, num_sentences=2) for number in (1, 6))
    assert six == 6 * one


def test_the_output_layer_multiplies_each_token_by_every_entry_of_the_vocabulary() -> None:
    assert output_flops(3, torch.empty(100, 4)) == 2 * 3 * 4 * 100


def test_maps_before_the_output_layer_count_where_they_are() -> None:
    assert output_flops(3, torch.empty(100, 4), (None, nn.Linear(8, 4))) == 2 * 3 * 4 * 100 + 2 * 3 * 8 * 4
