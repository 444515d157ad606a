"""Contestants that make batches from mapped token files, one core each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness.contest import Block
from seqtrain.config.root import BatchingConfig
from seqtrain.data.batching import Plan
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.indexed import IndexedWriter, open_indexed
from seqtrain.data.packing import PackedPlan
from seqtrain.data.pairs import PairDataset
from seqtrain.data.tokens import TokenTable
from seqtrain.data.vocabulary import Vocabulary

VOCABULARY_SIZE = 32_000


def random_pairs(folder: Path, prefixes: Sequence[Path]) -> PairDataset:
    """Random tokens in sequences as long as those of other files, on the disk and mapped."""
    generator = np.random.default_rng(1)
    tables = []
    for prefix in prefixes:
        lengths = open_indexed(prefix, vocabulary_size=VOCABULARY_SIZE, is_checked=True).lengths
        with IndexedWriter(folder / f"random.{prefix.name}", vocabulary_size=VOCABULARY_SIZE) as writer:
            writer.write(generator.integers(4, VOCABULARY_SIZE, int(lengths.sum())), lengths)
        tables.append(open_indexed(folder / f"random.{prefix.name}", vocabulary_size=VOCABULARY_SIZE))
    return PairDataset(*tables)


def plan_batches(dataset: PairDataset, max_tokens: int) -> list[np.ndarray]:
    """The examples of each batch of an epoch."""
    options = IterationOptions(batching=BatchingConfig(max_tokens=max_tokens), max_positions=(1024, 1024))
    return list(Plan(dataset.length_table, options).batches())


class CollateArm:
    """Makes batches and counts the tokens of both sides that are no padding."""

    def __init__(self, name: str, dataset: PairDataset, batches: Sequence[np.ndarray]) -> None:
        self.name = name
        self._dataset = dataset
        self._batches = batches

    def run(self, first: int, number: int) -> Block:
        """See `contest.Arm`."""
        chosen = [self._batches[index % len(self._batches)] for index in range(first, first + number)]
        num_tokens = sum(
            int(length) for indices in chosen for table in self._tables for length in table.locate(indices)[1]
        )
        start, processor_start = time.perf_counter(), time.process_time()
        for indices in chosen:
            self.make(indices)
        return Block(time.perf_counter() - start, time.process_time() - processor_start, num_tokens)

    @property
    def _tables(self) -> tuple[TokenTable, TokenTable]:
        assert self._dataset.source is not None
        return self._dataset.source, self._dataset.target

    def make(self, indices: np.ndarray) -> None:
        """One batch: source, target, and the target shifted to the right."""
        self._dataset.collate(indices)


class PackedArm(CollateArm):
    """Packed batches, with all that attention wants to know of them."""

    def __init__(self, name: str, dataset: PairDataset, max_tokens: int) -> None:
        batching = BatchingConfig(max_tokens=max_tokens)
        options = IterationOptions(batching=batching, max_positions=(1024, 1024), packed=True)
        plan = PackedPlan(dataset.length_table, options)
        super().__init__(name, dataset, list(plan.batches()))
        self._shape = plan.shape

    def make(self, indices: np.ndarray) -> None:
        """See `CollateArm`."""
        assert self._shape is not None, "there are pairs"
        self._dataset.collate_packed(indices, self._shape)


class LoopArm(CollateArm):
    """One example after the other, each a tensor that is copied into its row: how it is written first."""

    def make(self, indices: np.ndarray) -> None:
        """See `CollateArm`."""
        source, target = self._tables
        sources = [torch.from_numpy(source[index]) for index in indices]
        targets = [torch.from_numpy(target[index]) for index in indices]
        _rows(sources)
        _rows(targets)
        eos = torch.tensor([Vocabulary.eos])
        _rows([torch.cat([eos, row[:-1]]) for row in targets])


def _rows(sequences: list[torch.Tensor]) -> torch.Tensor:
    matrix = torch.full((len(sequences), max(map(len, sequences))), Vocabulary.pad)
    for row, sequence in zip(matrix, sequences, strict=True):
        row[: len(sequence)].copy_(sequence)
    return matrix
