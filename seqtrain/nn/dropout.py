"""Dropout (Srivastava et al., 2014).

On the CPU torch draws one Bernoulli number an element, which takes longer than the layer around it. Here 64 random bits
serve four elements. They come from streams of a fixed length, so that several can be drawn side by side: by numpy, two
times as fast as torch, or by a compiled kernel, the same bits seven times as fast as numpy. Their seed comes from the
default generator of torch, so the seed of that one alone decides.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.nn.own_kernels import uses_own_kernels
from seqtrain.nn.training_kernels import Dropped, kernels_in_use

__all__ = ["add_dropout", "draw_dropped", "dropout", "dropout_mask"]

_LEVELS = 2**16
_ELEMENTS_OF_DRAW = 4
_DRAWS_OF_STREAM, _DRAWS_TO_WARM_UP = 2**15, 12  # as in native/training.cpp
_DRAWS_AT_A_TIME = 8


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Zero each element with this probability while training, and scale the others up: their mean stays."""
    if not training or probability == 0.0:
        return x
    if not uses_own_kernels(x.device):
        return functional.dropout(x, probability)
    return x * dropout_mask(x, probability)


def add_dropout(x: Tensor, output: Tensor, probability: float, training: bool) -> Tensor:
    """X + dropout(output), in one pass where that is faster; both of one shape, x in float32 also under autocast."""
    if not training or probability == 0.0:
        return x + output
    if not uses_own_kernels(x.device):
        return x + functional.dropout(output, probability)
    return x + output.to(x.dtype) * dropout_mask(x, probability)


def dropout_mask(x: Tensor, probability: float) -> Tensor:
    """What to multiply a CPU tensor with: 0 with this probability, to the nearest 1/65536, and else 1 / (1 - it).

    Returns:
        A tensor like x.
    """
    dropped = draw_dropped(x.numel(), probability)
    assert dropped.bits is not None, "something is dropped"
    values = dropped.bits[: x.numel()].view(x.shape)
    mask = torch.ge(values, dropped.threshold, out=torch.empty_like(x, memory_format=torch.contiguous_format))
    return mask.mul_(dropped.scale)


def draw_dropped(num_elements: int, probability: float) -> Dropped:
    """Random bits for so many elements, and what they mean; nothing is drawn where nothing is dropped."""
    if probability == 0.0:
        return Dropped()
    num_zeros = min(round(probability * _LEVELS), _LEVELS - 1)  # of the values of 16 bits
    seed = int(torch.empty((), dtype=torch.int64).random_())
    num_draws = -(-num_elements // (_ELEMENTS_OF_DRAW * _DRAWS_AT_A_TIME)) * _DRAWS_AT_A_TIME
    kernels = kernels_in_use()
    bits = _draw_bits(seed, num_draws) if kernels is None else kernels.draw_bits(seed, num_draws)
    # uniform on -32768 ... 32767
    return Dropped(bits.view(torch.int16), num_zeros - _LEVELS // 2, _LEVELS / (_LEVELS - num_zeros))


def _draw_bits(seed: int, num_draws: int) -> Tensor:
    """The first random bits of the streams of a seed, one after the other: (num_draws,) int64."""
    bits = np.empty(num_draws, dtype=np.uint64)
    source = np.random.SFC64(0)
    generator = np.random.Generator(source)  # fills an array twice as fast as its bare bit generator
    for number, start in enumerate(range(0, num_draws, _DRAWS_OF_STREAM)):
        part = bits[start : start + _DRAWS_OF_STREAM]
        words = np.array([seed, number, 0, 1], dtype=np.uint64)
        source.state = {"bit_generator": "SFC64", "state": {"state": words}, "has_uint32": 0, "uinteger": 0}
        source.random_raw(_DRAWS_TO_WARM_UP, output=False)
        part[:] = generator.integers(2**64, size=len(part), dtype=np.uint64)
    return torch.from_numpy(bits.view(np.int64))
