"""Random numbers as a function of (seed, purpose, update, batch), so that nothing needs to be saved.

Whatever ran before (another number of ranks, a validation, a restart) cannot change what a batch draws.
"""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def derive_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A 63-bit seed that depends on all arguments and on nothing else."""
    text = ":".join([str(seed), purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def seed_everything(seed: int, purpose: str, *numbers: int) -> None:
    """Seed the global generators of torch (all devices), numpy and Python, which plug-ins may draw from."""
    value = derive_seed(seed, purpose, *numbers)
    torch.manual_seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002 - for the plug-ins that draw from numpy's global generator
    random.seed(value)
