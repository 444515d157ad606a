"""The folder `checkpoints/` of a run: which checkpoints it keeps, and the links `last` and `best`."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seqtrain.errors import CheckpointError
from seqtrain.files import replace_link
from seqtrain.training.checkpoint import (
    STATE,
    Checkpoint,
    CheckpointContent,
    checkpoint_name,
    find_checkpoints,
    remove_checkpoint,
    remove_debris,
    updates_in_name,
    write_checkpoint,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeepPolicy:
    """What is kept.

    Attributes:
        keep_last: The newest so many.
        keep_best: The best so many by the validation metric, besides.
        maximize: Whether more of the metric is better.
        keep_every: Those whose update is a multiple of this, for good; None keeps none for it.
    """

    keep_last: int
    keep_best: int
    maximize: bool
    keep_every: int | None = None


class CheckpointKeeper:
    """Writes, finds and removes the checkpoints of one run."""

    def __init__(self, folder: Path, policy: KeepPolicy) -> None:
        self.folder = folder
        self._policy = policy

    def save(self, content: CheckpointContent, num_updates: int) -> Path:
        """Write a checkpoint, point the links at what they name, and only then remove what need not be kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / checkpoint_name(num_updates)
        write_checkpoint(target, content)
        replace_link(self.folder / "last", target.name)
        ranking = rank_checkpoints(find_checkpoints(self.folder), maximize=self._policy.maximize)
        replace_link(self.folder / "best", ranking[0].name if ranking else target.name)
        self._remove_others(ranking)
        return target

    def _remove_others(self, ranking: list[Path]) -> None:
        """Remove what the policy does not keep."""
        policy, saved = self._policy, find_checkpoints(self.folder)
        milestones = [path for path in saved if policy.keep_every and updates_in_name(path) % policy.keep_every == 0]
        for path in {*saved} - {*saved[: policy.keep_last], *ranking[: policy.keep_best], *milestones}:
            remove_checkpoint(path)

    def newest_intact(self) -> Checkpoint | None:
        """The newest checkpoint that can be trusted; None where the run has none yet.

        Raises:
            CheckpointError: There are checkpoints, and every one is damaged. Starting over would lose them silently.
        """
        remove_debris(self.folder)
        damaged: list[tuple[Path, CheckpointError]] = []
        for path in find_checkpoints(self.folder):
            try:
                checkpoint = Checkpoint(path)
            except CheckpointError as error:
                logger.warning("%s; falling back to the checkpoint before it", error)
                damaged.append((path, error))
            else:
                self._set_aside([path for path, _ in damaged], checkpoint)
                return checkpoint
        if damaged:
            raise CheckpointError(
                "every checkpoint of the run is damaged:\n" + "\n".join(str(error) for _, error in damaged),
                remedy=f"move {self.folder} away to start over",
            )
        return None

    def _set_aside(self, damaged: list[Path], intact: Checkpoint) -> None:
        """Rename damaged checkpoints, so that they count neither as the newest nor as the best."""
        for path in damaged:
            aside = path.with_name(f"damaged_{path.name}")
            logger.warning("%s is kept as %s", path, aside.name)
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        if damaged:
            replace_link(self.folder / "last", intact.folder.name)


def rank_checkpoints(folders: Iterable[Path], *, maximize: bool) -> list[Path]:
    """Those that have a validation metric, best first; of equals the older one."""
    metrics = [(path, metric) for path in folders if (metric := _metric(path)) is not None]
    sign = -1.0 if maximize else 1.0
    return [path for path, _ in sorted(metrics, key=lambda pair: (sign * pair[1], pair[0].name))]


def _metric(folder: Path) -> float | None:
    try:
        value = json.loads((folder / STATE).read_text(encoding="utf-8"))["metric"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a damaged checkpoint is not among the best; it stays until it is no longer among the newest
    return float(value) if value is not None else None
