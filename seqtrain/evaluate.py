"""`python -m seqtrain.evaluate`: the losses of a trained model on a split, and all that its task measures."""

from __future__ import annotations

from pathlib import Path

from seqtrain.config.app import Command, Job, launch
from seqtrain.config.root import EvaluateConfig


def run(config: EvaluateConfig, _job: Job) -> None:
    """Print a measure a line: its name, a tab, its value."""
    from seqtrain.assemble import load_evaluator
    from seqtrain.console import configure_logging, print_result

    configure_logging()
    evaluator = load_evaluator(
        Path(config.checkpoint),
        generation=config.generation if config.generate else None,
        batching=config.batching,
        runtime=config.runtime,
        data=config.data,
        use_ema=config.use_ema,
    )
    for name, value in evaluator.measure(config.split).items():
        print_result(f"{name}\t{value:.4f}")


def main() -> None:
    """Run the command."""
    launch(Command("evaluate", EvaluateConfig, "seqtrain.evaluate:run"))


if __name__ == "__main__":
    main()
