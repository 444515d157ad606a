"""A packed batch of four sentences, and random rows for its attention."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.testing import assert_close

from seqtrain.data.batch import Batch
from seqtrain.data.packing import PackedShape, SideShape
from seqtrain.data.pairs import PairDataset
from seqtrain.nn.layout import Layout
from seqtrain.nn.packed_layout import PackedLayout

NUM_HEADS, DIM = 2, 3
WIDTH = NUM_HEADS * DIM
SHAPE = PackedShape(
    source=SideShape(num_rows=16, num_columns=4, row_length=7),
    target=SideShape(num_rows=12, num_columns=5, row_length=6),
    num_sequences=5,
    num_attention_rows=3,
)
SOURCE_LENGTHS, TARGET_LENGTHS = [3, 2, 4, 1], [1, 5, 2, 2]


def batch() -> Batch:
    """Two sentences in an attention row, two in another, and a third row without any."""
    sources = [[9] * length for length in SOURCE_LENGTHS]
    targets = [[9] * length for length in TARGET_LENGTHS]
    return PairDataset.from_lists(sources, targets).collate_packed(np.arange(4), SHAPE)


def layouts() -> tuple[PackedLayout, PackedLayout]:
    """Of its sources and its targets."""
    packed = batch()
    assert packed.packed_sources is not None
    assert packed.packed_targets is not None
    return PackedLayout.of_tokens(packed.packed_sources), PackedLayout.of_tokens(packed.packed_targets)


def rows(layout: Layout, num_blocks: int, seed: int) -> Tensor:
    """(R, num_blocks * D) that wants a gradient."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(layout.num_rows, num_blocks * WIDTH, generator=generator, dtype=torch.float64)
    return values.requires_grad_()


def assert_agrees(output: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    """The first rows of an output are as expected, and so are the gradients of the inputs."""
    assert_close(output[: len(expected)], expected)
    weights = torch.randn(expected.shape, dtype=expected.dtype, generator=torch.Generator().manual_seed(9))
    gradients = torch.autograd.grad((output[: len(expected)] * weights).sum(), inputs)
    assert_close(gradients, torch.autograd.grad((expected * weights).sum(), inputs))
