"""The job of `python -m seqtrain.preprocess`: a folder of text to a data-bin folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from seqtrain.data.building import building
from seqtrain.data.manifest import write_manifest
from seqtrain.errors import ConfigError, DataError
from seqtrain.tasks.text import TextTask

if TYPE_CHECKING:
    from seqtrain.tasks.base import Task

logger = logging.getLogger(__name__)


def preprocess(task: Task, output: Path, num_workers: int | None = None) -> None:
    """Write a task's text as a data-bin folder: whole, or not at all.

    Args:
        task: Whose text is to be written.
        output: The folder; it must not exist, or be empty.
        num_workers: Processes; None takes one a core.

    Raises:
        ConfigError: The task has no text.
        DataError: The text is missing or malformed, or there is something in the folder.
    """
    if not isinstance(task, TextTask):
        raise ConfigError(f"task={task.config._name} has no text to preprocess")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"output={output}: there is something already", remedy="give a folder that does not exist yet")
    try:
        with building(output) as folder:
            task.write_data_bin(folder, num_workers)
            write_manifest(folder)
    except OSError as error:
        raise DataError(f"output={output}: cannot be written: {error.strerror}") from error
    logger.info("wrote %s", output)
