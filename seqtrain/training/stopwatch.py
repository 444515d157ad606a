"""Where the time of training goes: the seam through which a profile listens. Without one, nothing is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from enum import Enum

from seqtrain.data.batch import Batch

__all__ = ["Phase", "Stopwatch"]

_NOTHING = nullcontext()


class Phase(Enum):
    """What training does at a moment; the value is its name in tables."""

    data = "data wait"
    """The next update's batches are not there yet."""
    host = "host"
    """Python between the other phases: random numbers, counting, the loop."""
    forward = "forward"
    """The model and the loss."""
    backward = "backward"
    """The gradients."""
    communication = "communication"
    """Other processes are waited for; what travels while gradients are computed is not seen."""
    optimizer = "optimizer"
    """Clipping and the step."""
    validation = "validation"
    """Between two updates."""
    checkpoint = "checkpoint"
    """Between two updates."""


class Stopwatch:
    """Measures nothing: the null case of `seqtrain.training.profile.Profile`.

    Phases follow one another and are never nested: the time from one `enter` to the next belongs to the first of them.
    """

    def updates(self, batches: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        """The batches of each update; asking for the next ones begins an update."""
        return batches

    def enter(self, phase: Phase) -> None:
        """From now on, time is the phase's."""

    def during(self, phase: Phase) -> AbstractContextManager[None]:
        """A phase, and then again the one before it."""
        return _NOTHING

    def close(self) -> None:
        """Training has ended."""
