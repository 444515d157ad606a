"""What `make demo` shows after training: translations of numbers that the model never saw, and how many are right.

Run as `python examples/demo.py outputs/RUN`, with a run of `experiment=demo`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import seqtrain
from seqtrain.data.demo import write_corpus
from seqtrain.evaluation import exact_match

NUM_SHOWN = 10
REQUIRED_PERCENTAGE = 95.0


def held_out_numbers() -> tuple[list[str], list[str]]:
    """The numbers of the test split in English and in German words."""
    with TemporaryDirectory() as folder:
        write_corpus(Path(folder))
        english, german = (Path(folder, f"test.{language}").read_text(encoding="utf-8") for language in ("en", "de"))
    return english.splitlines(), german.splitlines()


def main(run_folder: str) -> int:
    """Translate the held-out numbers; the exit status says whether enough of them are right."""
    sources, references = held_out_numbers()
    model = seqtrain.load(Path(run_folder) / "checkpoints" / "best")
    translations = model.translate(sources)
    for source, translation, reference in list(zip(sources, translations, references, strict=True))[:NUM_SHOWN]:
        verdict = "right" if translation == reference else f"wrong, it is {reference}"
        print(f"{source}\n    {translation}    ({verdict})")
    percentage = exact_match(translations, references)
    print(f"\n{percentage:.1f} % of {len(sources)} numbers that were not in the training text are translated exactly.")
    if percentage < REQUIRED_PERCENTAGE:
        print(f"That is less than {REQUIRED_PERCENTAGE:.0f} %: the training went wrong.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
