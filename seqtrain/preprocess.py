"""`python -m seqtrain.preprocess`: raw text to a data-bin folder, which fairseq can read too."""

from __future__ import annotations

from pathlib import Path

from seqtrain.config.app import Command, Job, launch
from seqtrain.config.root import PreprocessConfig


def run(config: PreprocessConfig, _job: Job) -> None:
    """Write vocabularies, tokenizer and indexed files of all splits.

    Raises:
        PreemptedError: A signal asked for an end; nothing was written.
    """
    from seqtrain.console import configure_logging
    from seqtrain.training.signals import StopRequest

    configure_logging()
    with StopRequest() as stop, stop.raising(f"before {config.output} was whole: nothing of it was written"):
        from seqtrain.assemble import build_task
        from seqtrain.tasks.preprocess import preprocess

        preprocess(build_task(config.task), Path(config.output), config.num_workers)


def main() -> None:
    """Run the command."""
    launch(Command("preprocess", PreprocessConfig, "seqtrain.preprocess:run"))


if __name__ == "__main__":
    main()
