"""`python -m seqtrain.interactive`: a line in, a line out."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

from seqtrain.config.app import Command, Job, launch
from seqtrain.config.root import InteractiveConfig


def run(config: InteractiveConfig, _job: Job) -> None:
    """Read lines from stdin until it ends, and write what the model makes of each."""
    from seqtrain.assemble import load_generator
    from seqtrain.console import configure_logging, console, print_result

    configure_logging()
    generator = load_generator(
        [Path(folder) for folder in [config.checkpoint, *config.ensemble]],
        generation=config.generation,
        batching=config.batching,
        runtime=config.runtime,
        data=config.data,
        use_ema=config.use_ema,
    )
    if sys.stdin.isatty():
        console.print("A line in, a line out; Ctrl-D ends.")
    while lines := [line.rstrip("\n") for line in islice(sys.stdin, config.buffer_size)]:
        for hypotheses in generator.generate_lines(lines):
            for hypothesis in hypotheses:
                print_result(f"{hypothesis.score:.4f}\t{hypothesis.text}" if config.show_scores else hypothesis.text)
        sys.stdout.flush()


def main() -> None:
    """Run the command."""
    launch(Command("interactive", InteractiveConfig, "seqtrain.interactive:run"))


if __name__ == "__main__":
    main()
