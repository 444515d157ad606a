"""`python -m seqtrain.convert`: a checkpoint in parts to one in whole files, or back."""

from __future__ import annotations

import logging
from pathlib import Path

from seqtrain.config.app import Command, Job, launch
from seqtrain.config.root import ConvertConfig

logger = logging.getLogger(__name__)


def run(config: ConvertConfig, _job: Job) -> None:
    """Write the checkpoint anew."""
    from seqtrain.console import configure_logging
    from seqtrain.training.conversion import convert

    configure_logging()
    convert(Path(config.checkpoint), Path(config.output), config.num_parts)
    logger.info("wrote %s", config.output)


def main() -> None:
    """Run the command."""
    launch(Command("convert", ConvertConfig, "seqtrain.convert:run"))


if __name__ == "__main__":
    main()
