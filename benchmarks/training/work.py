"""The batches of a run, written once for all contestants."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks.batches import endless_batches, multi30k
from benchmarks.harness.environments import BENCHMARKS
from benchmarks.training import token_batches
from benchmarks.training.settings import PAD, Shape
from benchmarks.training.token_batches import TokenBatch, Tokens

DATA = BENCHMARKS / ".data"


def make_batches(shape: Shape, *, num_batches: int, max_tokens: int, seed: int) -> tuple[Path, str]:
    """A file of batches with at most `max_tokens` tokens of a side, padding included, and where they come from.

    Sentences of Multi30k where the vocabulary is that of its recipe, rows of random tokens for a language model, else
    random pairs with lengths like WMT's.
    """
    if shape.is_decoder_only:
        rows = max(1, max_tokens // shape.max_length)
        batches = token_batches.random_rows(num_batches, rows, shape, seed)
        origin = f"random rows of {shape.max_length} tokens"
    elif shape.name.startswith("tiny"):
        dataset, origin = multi30k()
        epoch = itertools.islice(endless_batches(dataset, max_tokens), num_batches)
        batches = [TokenBatch(_rows(batch.source_tokens), _rows(batch.targets)) for batch in epoch]
    else:
        batches = token_batches.random_pairs(num_batches, max_tokens, shape, seed)
        origin = "random pairs of lengths like WMT's"
    path = DATA / f"{shape.name}-{num_batches}-{max_tokens}-{seed}.npz"
    token_batches.save(path, batches)
    return path, origin


def _rows(padded: Tensor | None) -> list[Tokens]:
    assert padded is not None
    array: Tokens = padded.numpy()
    return [row[row != PAD] for row in np.asarray(array)]
