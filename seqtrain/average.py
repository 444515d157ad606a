"""`python -m seqtrain.average`: the mean of the weights of several checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path

from seqtrain.config.app import Command, Job, launch
from seqtrain.config.root import AverageConfig

logger = logging.getLogger(__name__)


def run(config: AverageConfig, _job: Job) -> None:
    """Write a checkpoint folder with the mean of the chosen weights."""
    from seqtrain.console import configure_logging, print_result
    from seqtrain.training.averaging import average_checkpoints, choose_checkpoints

    configure_logging()
    output = Path(config.output)
    for folder in average_checkpoints(choose_checkpoints(config), output, use_ema=config.use_ema):
        logger.info("averaged %s", folder)
    print_result(str(output))


def main() -> None:
    """Run the command."""
    launch(Command("average", AverageConfig, "seqtrain.average:run"))


if __name__ == "__main__":
    main()
