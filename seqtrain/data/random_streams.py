"""Random numbers of the data order: each stream depends on its seed and on nothing else."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["Purpose", "random_stream"]


class Purpose(IntEnum):
    """What a stream of random numbers is for; part of its seed."""

    shard_order = 1
    example_order = 2
    batch_order = 3


def random_stream(purpose: Purpose, *numbers: int) -> np.random.Generator:
    """The stream for a purpose and some numbers: seed, epoch, first example of a shard."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(purpose), *numbers])))
