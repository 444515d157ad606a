"""What tests of compiled and recorded training share: a small Transformer, its batches, a counter of graphs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch

from seqtrain.config.root import BatchForm, TrainBatchingConfig
from seqtrain.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropy,
    LabelSmoothedCrossEntropyConfig,
)
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import IterationOptions, PackableDataset
from seqtrain.data.packing import PackedPlan
from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.testing.fakes import TinyTask, collate
from seqtrain.training.step import TrainableModule

__all__ = ["CountedGraphs", "make_batch", "make_module", "packed_batches"]


class CountedGraphs:
    """A backend of torch.compile that runs graphs as they are."""

    def __init__(self) -> None:
        self.num_graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, _: list[Any]) -> Callable[..., Any]:
        """Take a graph."""
        self.num_graphs += 1
        return graph.forward


def make_module(task: TinyTask, *, dropout: float = 0.0, num_layers: int = 1, num_heads: int = 2) -> TrainableModule:
    """A Transformer of width 16, always with the same weights, and a label-smoothed loss."""
    torch.manual_seed(1)
    sizes = {"embed_dim": 16, "ffn_embed_dim": 32, "layers": num_layers, "attention_heads": num_heads}
    both: dict[str, Any] = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()}
    config = TransformerConfig(**both, share_all_embeddings=True, dropout=dropout)
    criterion = LabelSmoothedCrossEntropy(LabelSmoothedCrossEntropyConfig(), task)
    return TrainableModule(Transformer(config, task), criterion).train()


def make_batch(task: TinyTask, num_sentences: int, lengths: tuple[int, int], *, seed: int = 1) -> Batch:
    """A padded batch of words whose numbers of letters are within bounds."""
    generator = random.Random(seed)

    def word() -> list[int]:
        return task.random_word(generator, generator.randint(*lengths))

    return collate([(word(), word()) for _ in range(num_sentences)])


def packed_batches(task: TinyTask, max_tokens: int) -> Iterator[Batch]:
    """The packed batches of the task's examples."""
    dataset = task.dataset("train")
    batching = TrainBatchingConfig(max_tokens=max_tokens, form=BatchForm.packed)
    plan = PackedPlan(dataset.length_table, IterationOptions(batching=batching, max_positions=(100, 100), packed=True))
    assert isinstance(dataset, PackableDataset)
    assert plan.shape is not None
    for indices in plan.batches():
        yield dataset.collate_packed(indices, plan.shape)
