"""How many floating-point operations the matrix products of a Transformer take.

Each multiplication with its addition counts as 2. Looking up embeddings, norms, activations and softmax count nothing;
a causal attention counts as a full one, as in nanoGPT. A backward pass takes twice what the forward pass takes.

Shapes: D features, F features inside the feed-forward network, M features of a memory, S and T tokens of a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from seqtrain.nn.options import LayerOptions

__all__ = ["BACKWARD_AND_FORWARD", "output_flops", "stack_flops"]

BACKWARD_AND_FORWARD = 3
"""How many forward passes a forward pass and its backward pass make."""


def output_flops(num_tokens: int, output_weight: Tensor, maps: Iterable[nn.Linear | None] = ()) -> float:
    """Of the forward pass of the output layer (V, D), and of maps that stand before it or behind the embeddings."""
    weights = [output_weight, *(one.weight for one in maps if one is not None)]
    return sum(_product(num_tokens, *weight.shape) for weight in weights)


def stack_flops(
    num_layers: int,
    options: LayerOptions,
    *,
    num_tokens: int,
    num_sentences: int,
    num_memory_tokens: int = 0,
) -> float:
    """Of the forward pass of equal layers.

    A layer takes 8 D² a token for the four maps of self-attention, 4 D F for the feed-forward network and 4 T D for
    attention; with a memory, 4 D² a token more for queries and output, 4 M D a memory token for keys and values, and
    4 S D a token for attention. T and S are the mean lengths.

    Args:
        num_layers: In the stack.
        options: Of each layer.
        num_tokens: That the stack reads, without padding.
        num_sentences: That they belong to.
        num_memory_tokens: That cross-attention reads.
    """
    width, mean_length = options.embed_dim, num_tokens / max(1, num_sentences)
    layer = 4 * _product(num_tokens, width, width)
    layer += 2 * _product(num_tokens, width, options.ffn_embed_dim)
    layer += 2 * _product(num_tokens, width, 1) * mean_length
    if options.memory_dim is not None:
        layer += 2 * _product(num_tokens, width, width)
        layer += 2 * _product(num_memory_tokens, options.memory_dim, width)
        layer += 2 * _product(num_tokens, width, 1) * (num_memory_tokens / max(1, num_sentences))
    return num_layers * layer


def _product(num_rows: int, num_inputs: int, num_outputs: int) -> float:
    """Of (num_rows, num_inputs) times (num_inputs, num_outputs)."""
    return 2.0 * num_rows * num_inputs * num_outputs
