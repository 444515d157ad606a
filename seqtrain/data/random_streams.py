"""Random numbers of the data order: each stream depends on its seed and on nothing else."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Purpose", "random_stream", "shuffled"]

T = TypeVar("T", bound=np.generic)

_IN_CACHE = 2**18  # elements that a shuffle finds there


class Purpose(IntEnum):
    """What a stream of random numbers is for; part of its seed."""

    shard_order = 1
    example_order = 2
    batch_order = 3


def random_stream(purpose: Purpose, *numbers: int) -> np.random.Generator:
    """The stream for a purpose and some numbers: seed, epoch, first example of a shard."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(purpose), *numbers])))


def shuffled(elements: npt.NDArray[T], stream: np.random.Generator) -> npt.NDArray[T]:
    """All elements in a random order, every order as likely as any other.

    Many are thrown into buckets first, and then each bucket is shuffled, which the processor's cache holds; a shuffle
    of all of them waits for memory at every element. (Sandelius, "A simple randomization procedure", 1962.)

    Args:
        elements: (N,), N of 2**26 at most; they may be shuffled where they are.
        stream: What decides.
    """
    num_buckets = -(-len(elements) // _IN_CACHE)
    if num_buckets <= 1:
        stream.shuffle(elements)
        return elements
    assert num_buckets <= 2**8, "numbers of 8 bits are what numpy sorts in linear time"
    buckets = stream.integers(num_buckets, size=len(elements), dtype=np.uint8)
    elements = elements[np.argsort(buckets, kind="stable")]
    ends = np.cumsum(np.bincount(buckets))
    for bucket in np.split(elements, ends[:-1]):
        stream.shuffle(bucket)
    return elements
