"""The measures of a run for TensorBoard: an optional extra."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqtrain.errors import ConfigError


class TensorBoardWriter:
    """Takes the rows that metrics.jsonl takes.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "logging.tensorboard=true needs the package tensorboard",
                remedy="pip install 'seqtrain[tensorboard]'",
            ) from error
        self._writer = SummaryWriter(str(folder))

    def append(self, row: Mapping[str, Any]) -> None:
        """Write each number of a row as SPLIT/NAME at its update."""
        for name, value in row.items():
            if isinstance(value, float):
                self._writer.add_scalar(f"{row['split']}/{name}", value, row["update"])
        self._writer.flush()
