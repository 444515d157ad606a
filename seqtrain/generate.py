"""`python -m seqtrain.generate`: decode a split or a file with a trained model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqtrain.config.app import Command, Job, launch
from seqtrain.config.root import GenerateConfig

if TYPE_CHECKING:
    from seqtrain.generation.text import TextGenerator, TextHypothesis

logger = logging.getLogger(__name__)


def run(config: GenerateConfig, _job: Job) -> None:
    """Decode, write the text, and measure it where there are references."""
    from seqtrain.assemble import load_generator
    from seqtrain.console import configure_logging

    configure_logging()
    generator = load_generator(
        [Path(folder) for folder in [config.checkpoint, *config.ensemble]],
        generation=config.generation,
        batching=config.batching,
        runtime=config.runtime,
        data=config.data,
        use_ema=config.use_ema,
    )
    if config.score_reference:
        scored = generator.score_dataset(generator.task.dataset(config.split))
        _write([f"{hypothesis.score:.4f}\t{hypothesis.text}" for hypothesis in scored], config.output)
        return
    results, references = _decode(generator, config)
    _write([hypothesis.text for hypotheses in results for hypothesis in hypotheses], config.output)
    if references is not None:
        best = [hypotheses[0].text for hypotheses in results]
        for name, value in generator.task.measure_text(best, references).items():
            logger.info("%s %s: %.2f", config.split, name, value)


def _decode(
    generator: TextGenerator, config: GenerateConfig
) -> tuple[list[list[TextHypothesis]], Sequence[str] | None]:
    """The hypotheses of each line or example, in order, and the references where there are any."""
    if config.input is not None:
        from seqtrain.data.text import TextFile

        return generator.generate_lines(list(TextFile(Path(config.input)))), None
    return generator.generate_dataset(generator.task.dataset(config.split)), generator.task.references(config.split)


def _write(lines: Sequence[str], output: str | None) -> None:
    """Write to a file, whole or not at all, or else to stdout."""
    if output is None:
        from seqtrain.console import print_result

        for line in lines:
            print_result(line)
    else:
        from seqtrain.files import write_text_atomically

        Path(output).parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(Path(output), "".join(line + "\n" for line in lines))


def main() -> None:
    """Run the command."""
    launch(Command("generate", GenerateConfig, "seqtrain.generate:run"))


if __name__ == "__main__":
    main()
