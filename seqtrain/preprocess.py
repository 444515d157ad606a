"""`python -m seqtrain.preprocess`: raw text to a data-bin folder, which fairseq can read too."""

from __future__ import annotations

from pathlib import Path

from seqtrain.config.app import Command, Job, launch
from seqtrain.config.root import PreprocessConfig


def run(config: PreprocessConfig, _job: Job) -> None:
    """Write vocabularies, tokenizer and indexed files of all splits."""
    from seqtrain.assemble import build_task
    from seqtrain.console import configure_logging
    from seqtrain.tasks.preprocess import preprocess

    configure_logging()
    preprocess(build_task(config.task), Path(config.output), config.num_workers)


def main() -> None:
    """Run the command."""
    launch(Command("preprocess", PreprocessConfig, "seqtrain.preprocess:run"))


if __name__ == "__main__":
    main()
