"""Finding a run that was stopped, by its config: what `--resume` goes on with."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from seqtrain.config.check import from_yaml
from seqtrain.errors import SeqtrainError
from seqtrain.training.run_folder import CHECKPOINTS, FREE_KEYS, RESOLVED, flatten

logger = logging.getLogger(__name__)

_DEPTH = 3  # outputs/DATE/TIME and what a person may put between


def newest_unfinished(run_dir: Path, resolved: str) -> Path | None:
    """The newest run near a folder that has the same config and was neither finished nor failed.

    Args:
        run_dir: Where a new run would go: outputs/DATE/TIME.
        resolved: Its config as YAML; limits, intervals and paths may differ.
    """
    wanted = _identity(from_yaml(resolved))
    found = [path for path in _runs_near(run_dir) if path != run_dir and _is_unfinished(path, wanted)]
    return max(found, key=lambda path: (path / RESOLVED).stat().st_mtime, default=None)


def mention_unfinished(run_dir: Path, resolved: str, argv: list[str]) -> None:
    """Say how an unfinished run of the same config would be continued, where there is one."""
    found = newest_unfinished(run_dir, resolved)
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


def _is_unfinished(path: Path, wanted: dict[str, Any]) -> bool:
    try:
        status = json.loads((path / "status.json").read_text(encoding="utf-8"))
        identity = _identity(from_yaml(path / RESOLVED))
    except (OSError, ValueError, SeqtrainError):
        return False  # no run of ours, or one that is damaged: not for this search to judge
    return status.get("state") in ("running", "stopped") and (path / CHECKPOINTS).is_dir() and identity == wanted


def _identity(config: Any) -> dict[str, Any]:
    return {
        key: value
        for key, value in flatten(config).items()
        if key == "task.data" or not any(fnmatch(key, pattern) for pattern in FREE_KEYS)
    }
