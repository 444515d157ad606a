"""What grows with the number of examples and of vocabulary entries: start, time per update, memory of the trainer.

    python -m benchmarks.growth                       # up to 10^8 examples: 4 GB of disk, minutes
    python -m benchmarks.growth --clock cpu --examples 1000 1000000 --types 1000

Each line is a process that trains a small model on a data-bin folder of random tokens, made for it and removed again.
The first start is the time from the process's begin to the end of its first update: imports, reading all the data for
checksums and for what is wrong with it, the plan. The start again is that of another process on the same data, which
finds the records of the first and reads nothing (`seqtrain.data.records`). Memory is the most that was resident, mapped
files of the page cache included, and the most without them, seen at the beginning of updates.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.facts import CHECKOUT, Facts, machine, machine_name
from benchmarks.harness.report import RESULTS, dated_path, write_results
from seqtrain.data.indexed import IndexedWriter
from seqtrain.data.records import SETTLED
from seqtrain.data.vocabulary import SPECIAL_SYMBOLS, Vocabulary

EXAMPLES = tuple(10**power for power in range(3, 9))
TYPES = (10**3, 10**4, 10**5)
FEW_EXAMPLES, FEW_TYPES = 10**5, 10**3
LONGEST = 5  # tokens, the end symbol included: 10^8 examples shall fit on a disk
CAUSES = (
    "What grows with the examples is the first start, which reads all files for checksums and faults, a second or more "
    "for each gigabyte; and both starts cut the epoch into batches, about 10 ns an example, and order two shards of at "
    "most 8,000,000 examples, the second while the first is used. The memory without files is that of the two shards; "
    "the rest is pages of mapped files, which the system takes back. What grows with the types is the output layer."
)
BLOCK = 10**6
_FEW_UPDATES = 4


@dataclass(frozen=True)
class Figures:
    """What one run took.

    Attributes:
        start: Seconds until the first update was made.
        again: The same of a process that finds the data unchanged.
        update: Seconds of an update, the median.
        peak: Bytes that were resident at most.
        anonymous: Bytes that were at most, without files.
    """

    num_examples: int
    num_types: int
    start: float
    again: float
    update: float
    peak: float
    anonymous: float


def write_data(folder: Path, num_examples: int, num_types: int) -> None:
    """A data-bin folder of random pairs."""
    generator = np.random.default_rng(1)
    vocabulary = Vocabulary(f"w{number}" for number in range(num_types - len(SPECIAL_SYMBOLS)))
    for language in ("a", "b"):
        vocabulary.save(folder / f"dict.{language}.txt")
        with IndexedWriter(folder / f"train.a-b.{language}", vocabulary_size=num_types) as writer:
            for start in range(0, num_examples, BLOCK):
                lengths = generator.integers(2, LONGEST + 1, size=min(BLOCK, num_examples - start))
                tokens = generator.integers(len(SPECIAL_SYMBOLS), num_types, size=int(lengths.sum()), dtype=np.uint32)
                tokens[np.cumsum(lengths) - 1] = Vocabulary.eos
                writer.write(tokens, lengths)


def measure(num_examples: int, num_types: int, *, num_updates: int, width: int, clock: str) -> Figures:
    """Make the data, train on it, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="seqtrain-growth-"))
    try:
        data = folder / "data"
        data.mkdir()
        write_data(data, num_examples, num_types)
        time.sleep(SETTLED / 1e9)  # files that change while they are read leave no record
        first = _train(folder, "first", [str(_FEW_UPDATES), str(width)])
        told = _train(folder, "again", [str(num_updates), str(width)])
    finally:
        shutil.rmtree(folder)
    return Figures(
        num_examples=num_examples,
        num_types=num_types,
        start=first["second_update_begins"][clock],
        again=told["second_update_begins"][clock],
        update=told["seconds_per_update"][clock],
        peak=max(first["peak_bytes"], told["peak_bytes"]),
        anonymous=max(first["peak_anonymous_bytes"], told["peak_anonymous_bytes"]),
    )


def _train(folder: Path, name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What a process tells; times by the clock count from its begin, as those of the processor do."""
    command = [sys.executable, "-m", "benchmarks.growth_trainer", str(folder / "data"), str(folder / name), *arguments]
    environment = {**os.environ, "SEQTRAIN_CACHE": str(folder / "cache")}
    begin = time.monotonic()  # one clock for all processes of the machine
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    told["second_update_begins"]["wall"] -= begin
    return told


def growth_table(what: str, sizes: Sequence[int], figures: Sequence[Figures]) -> str:
    """A Markdown table, with what each figure is multiplied by from one line to the next."""
    lines = [
        f"| {what} | first start s | times | start again s | times | update ms | times | memory MB | times "
        "| without files MB | times |",
        f"|{'---|' * 11}",
    ]
    factors = [None, *(_factors(before, after) for before, after in pairwise(figures))]
    for size, found, factor in zip(sizes, figures, factors, strict=True):
        cells = [f"{found.start:.1f}", f"{found.again:.1f}", f"{1e3 * found.update:.1f}"]
        cells += [f"{found.peak / 1e6:,.0f}", f"{found.anonymous / 1e6:,.0f}"]
        times = [""] * len(cells) if factor is None else [f"{value:.2f}" for value in factor]
        pairs = " | ".join(f"{cell} | {by}" for cell, by in zip(cells, times, strict=True))
        lines.append(f"| {size:,} | {pairs} |")
    return "\n".join(lines)


def _factors(before: Figures, after: Figures) -> tuple[float, ...]:
    names = ("start", "again", "update", "peak", "anonymous")
    return tuple(getattr(after, name) / getattr(before, name) for name in names)


def main() -> None:
    """Measure all sizes, print the tables, and write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, nargs="*", default=EXAMPLES)
    parser.add_argument("--types", type=int, nargs="*", default=TYPES, help="sizes of the vocabulary")
    parser.add_argument("--updates", type=int, default=200, help="the next shard is planned during the first ones")
    parser.add_argument("--width", type=int, default=64, help="of the model")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a machine with other work")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the Markdown and JSON files")
    options = parser.parse_args()
    facts = machine()
    head = (
        f"{facts['date']}, {machine_name(facts)}, {facts['cores']} cores, one thread, commit {facts['commit']}: "
        f"`{facts['command']}`. One encoder and one decoder layer of width {options.width}, pairs of 2 to {LONGEST} "
        f'tokens a side; "times" is the factor from line to line. The clock: {options.clock}.'
    )
    path = dated_path(options.output, "growth", facts)
    record: Facts = {"facts": facts}
    tables: dict[str, str] = {}

    def write(*, is_finished: bool) -> list[str]:
        sections = [head, *tables.values(), CAUSES]
        write_results(path, "What grows with the data", sections, record, is_finished=is_finished)
        return sections

    for what, sizes in (("examples", options.examples), ("vocabulary entries", options.types)):
        found = []
        for size in sizes:
            counts = (size, FEW_TYPES) if what == "examples" else (FEW_EXAMPLES, size)
            found.append(measure(*counts, num_updates=options.updates, width=options.width, clock=options.clock))
            print(found[-1], flush=True)
            tables[what] = growth_table(what, sizes[: len(found)], found)
            record[what] = [asdict(figures) for figures in found]
            write(is_finished=False)
    print("\n\n".join(write(is_finished=True)))


if __name__ == "__main__":
    main()
