from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from seqtrain.nn.feed_forward import FeedForward
from seqtrain.nn.options import Activation, LayerOptions


def network(activation: Activation, activation_dropout: float = 0.0) -> FeedForward:
    torch.manual_seed(1)
    return FeedForward(
        LayerOptions(
            embed_dim=4,
            ffn_embed_dim=512,
            num_heads=1,
            activation=activation,
            activation_dropout=activation_dropout,
        )
    )


@pytest.mark.parametrize(("activation", "function"), [("relu", functional.relu), ("gelu", functional.gelu)])
def test_two_linear_maps_with_an_activation_between(activation: str, function: object) -> None:
    feed_forward = network(Activation(activation))
    x = torch.randn(5, 4)
    hidden = functional.linear(x, feed_forward.inner.weight, feed_forward.inner.bias)
    assert callable(function)
    expected = functional.linear(function(hidden), feed_forward.outer.weight, feed_forward.outer.bias)
    assert_close(feed_forward(x), expected)


def test_activation_dropout_acts_while_training_alone() -> None:
    feed_forward = network(Activation.relu, activation_dropout=0.5)
    x = torch.randn(5, 4)
    plain = network(Activation.relu)(x)
    assert not torch.allclose(feed_forward(x), plain)
    assert_close(feed_forward.eval()(x), plain)
