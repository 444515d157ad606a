"""The settings of checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from seqtrain.config.schema import MISSING, Problem, Section


class Choice(Enum):
    """Which checkpoints of a run to take."""

    last = "last"
    best = "best"


@dataclass(kw_only=True)
class CheckpointConfig(Section):
    """When to save, and what to keep."""

    save_interval_updates: int | None = None
    """Save after so many updates; null does not. A run is saved at its end in any case."""
    save_interval_epochs: int | None = 1
    """Save after so many epochs; null does not."""
    save_interval_minutes: float | None = None
    """Save after so many minutes; null does not."""
    save_in_background: bool = True
    """Write while training goes on, which waits for a copy in host memory alone; it takes as much memory as model and
    optimizer state together. false makes training wait."""
    keep_last: int = 2
    """Keep this many of the newest checkpoints, besides the best ones."""
    keep_best: int = 1
    """Keep this many of the checkpoints with the best validation metric."""
    keep_every_updates: int | None = None
    """Keep for good the checkpoints whose update is a multiple of this; null keeps none for it."""
    finetune_from: str | None = None
    """A checkpoint folder, of another run or an average, whose weights the model starts from."""
    reset_optimizer: bool = True
    """With finetune_from: begin with a fresh optimizer. false takes over its state (moments, float16's loss scale);
    the settings are this config's."""
    reset_lr_scheduler: bool = True
    """With finetune_from: begin the schedule anew, at update 0. false goes on with the count of updates, and with
    where the schedule stood."""
    reset_dataloader: bool = True
    """With finetune_from: begin with epoch 1. false goes on where the other run was in its epoch of the same data."""
    reset_meters: bool = True
    """With finetune_from: begin with no best metric, and with no tokens and no time counted. false keeps them."""

    def problems(self) -> Iterator[Problem]:
        """Intervals are positive or null; what is not reset comes from somewhere."""
        for name in ("save_interval_updates", "save_interval_epochs", "save_interval_minutes", "keep_every_updates"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                yield Problem(name, f"must be positive or null, but is {value}")
        if self.keep_last < 1:
            yield Problem("keep_last", f"must be at least 1, but is {self.keep_last}")
        if self.keep_best < 0:
            yield Problem("keep_best", f"must be at least 0, but is {self.keep_best}")
        for name in ("reset_optimizer", "reset_lr_scheduler", "reset_dataloader", "reset_meters"):
            if not getattr(self, name) and self.finetune_from is None:
                yield Problem(name, "is false, but checkpoint.finetune_from names no checkpoint to take it from")
        if self.reset_lr_scheduler and not self.reset_meters:
            yield Problem(
                "reset_meters",
                "must be true where reset_lr_scheduler is: the best metric was measured at an update, and updates are "
                "counted from 0 again",
            )


@dataclass(kw_only=True)
class AverageConfig(Section):
    """`python -m seqtrain.average`: the mean of the weights of several checkpoints."""

    checkpoints: list[str] = field(default_factory=list)
    """Checkpoint folders; or name a run."""
    run: str | None = None
    """A run folder, of whose checkpoints some are chosen: outputs/RUN."""
    num: int | None = 5
    """How many of the run's checkpoints; null takes all that the other options leave."""
    choose: Choice = Choice.last
    """last takes the newest of the run's checkpoints, best those with the best validation metric."""
    first_update: int | None = None
    """Choose among the run's checkpoints of this update and later ones; null sets no limit."""
    last_update: int | None = None
    """Choose among the run's checkpoints of this update and earlier ones; null sets no limit."""
    use_ema: bool = False
    """Average the averaged weights (training.ema_decay) of each; of one alone, this makes them its weights."""
    output: str = MISSING
    """The checkpoint folder to write; generate, evaluate and checkpoint.finetune_from take it."""

    def problems(self) -> Iterator[Problem]:
        """There are checkpoints, or a run to choose them from."""
        if bool(self.checkpoints) == (self.run is not None):
            yield Problem("checkpoints", "or run must be given, and not both: checkpoints=[A,B] or run=outputs/RUN")
        if self.num is not None and self.num < 1:
            yield Problem("num", f"must be positive or null, but is {self.num}")
        if self.run is None and (self.first_update is not None or self.last_update is not None):
            yield Problem("first_update", "and last_update choose among the checkpoints of a run: give run")
