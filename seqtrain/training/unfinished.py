"""Finding a run that was stopped, by its config: what `--resume` goes on with."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from seqtrain.config.differences import differences
from seqtrain.errors import SeqtrainError
from seqtrain.training.changes import RESOLVED, read_config
from seqtrain.training.run_folder import CHECKPOINTS, RunConfig

logger = logging.getLogger(__name__)

_DEPTH = 3  # outputs/DATE/TIME and what a person may put between


def newest_unfinished(run_dir: Path, config: RunConfig, allowed_changes: Collection[str] = ()) -> Path | None:
    """The newest run near a folder that has the same config and was neither finished nor failed.

    Args:
        run_dir: Where a new run would go: outputs/DATE/TIME.
        config: Its config; keys that do not change results may differ, but for task.data.
        allowed_changes: Other keys that may differ, or patterns of them.
    """
    found = [
        path
        for path in _runs_near(run_dir)
        if path != run_dir and _is_unfinished(path) and _is_like(path, config, allowed_changes)
    ]
    return max(found, key=lambda path: (path / RESOLVED).stat().st_mtime, default=None)


def mention_unfinished(run_dir: Path, config: RunConfig, argv: list[str]) -> None:
    """Say how an unfinished run of the same config would be continued, where there is one."""
    found = newest_unfinished(run_dir, config)
    if found is not None:
        logger.info("there is an unfinished run of this config in %s; this command goes on with it:", found)
        logger.info("python -m seqtrain.train %s", shlex.join([*argv, "--resume"]))


def _runs_near(run_dir: Path) -> Iterator[Path]:
    """The run folders below the folder outputs/ (or what stands in its place) that a run's folder lies in."""
    tops = [parent for parent in run_dir.parents if parent.name == "outputs"]
    top = tops[-1] if tops else run_dir.parent
    for depth in range(1, _DEPTH + 1):
        for path in top.glob("/".join(["*"] * depth + [RESOLVED])):
            yield path.parent


def _is_unfinished(path: Path) -> bool:
    try:
        status = json.loads((path / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # no run of ours, or one that is damaged: not for this search to judge
    return status.get("state") in ("running", "stopped") and (path / CHECKPOINTS).is_dir()


def _is_like(path: Path, config: RunConfig, allowed_changes: Collection[str]) -> bool:
    try:
        changes = differences(read_config(path), config.saved)
    except (OSError, SeqtrainError):
        return False
    return not any(change.key == "task.data" or change.is_refused(allowed_changes) for change in changes)
