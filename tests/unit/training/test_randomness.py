"""Random numbers follow from their names alone."""

from __future__ import annotations

import random

import numpy as np
import torch

from seqtrain.training.randomness import derive_seed, seed_everything


def test_every_argument_counts() -> None:
    seeds = {derive_seed(1, "a", 2, 3), derive_seed(2, "a", 2, 3), derive_seed(1, "b", 2, 3), derive_seed(1, "a", 23)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_same_names_give_the_same_numbers_whatever_was_drawn_before() -> None:
    def draw() -> tuple[float, float, float]:
        seed_everything(1, "train", 2, 3)
        return torch.rand(()).item(), float(np.random.rand()), random.random()  # noqa: NPY002 - what plug-ins may use

    first = draw()
    torch.rand(7)
    assert draw() == first
