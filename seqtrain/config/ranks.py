"""Which of several processes this one is, as torchrun's environment variables say; free of torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from seqtrain.errors import ConfigError


@dataclass(frozen=True)
class Rank:
    """This process among those that train together.

    Attributes:
        rank: Its number among all, from 0.
        world_size: How many there are.
        local_rank: Its number on this machine, which is also the number of its GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process owns the run folder and the display."""
        return self.rank == 0


def is_numbered() -> bool:
    """Whether torchrun, or something like it, started this process."""
    return "RANK" in os.environ


def this_rank() -> Rank:
    """What RANK, WORLD_SIZE and LOCAL_RANK say; one process alone where they are not set.

    Raises:
        ConfigError: They are no numbers, or do not fit one another.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    values = [os.environ.get(name, default) for name, default in zip(names, ("0", "1", "0"), strict=True)]
    shown = " ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
    try:
        rank = Rank(*map(int, values))
    except ValueError as error:
        raise ConfigError(f"{shown}: these environment variables must be numbers") from error
    if not 0 <= rank.rank < rank.world_size:
        raise ConfigError(f"{shown}: RANK must be below WORLD_SIZE", remedy="start the processes with torchrun")
    return rank
