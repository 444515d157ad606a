"""What saving costs the updates around it, in the background and while they wait: one paired run.

    python -m benchmarks.save_cost --rounds 12 --updates 50 --threads 1

One process trains one model on the same batches again and again. Each round has a block of updates without a save, one
that begins with a save in the background, and one that begins with a save that is waited for, in an order that turns
from round to round. The time of a block ends when its save is on the disk. A round gives one ratio of times for each
way to save; the result is the median of the ratios, with a bootstrap interval.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from benchmarks.batches import endless_batches, multi30k
from benchmarks.harness.facts import machine
from benchmarks.harness.intervals import bootstrap_median
from benchmarks.training.peers.seqtrain_model import SeqtrainTrainer
from benchmarks.training.settings import SHAPES, Settings
from seqtrain.data.batch import Batch
from seqtrain.lr_schedulers.fixed import Fixed, FixedConfig
from seqtrain.training.background import BackgroundWriter, CheckpointWriter
from seqtrain.training.keeper import CheckpointKeeper, KeepPolicy
from seqtrain.training.saving import Saver
from seqtrain.training.state import TrainState

ARMS = ("without", "background", "waiting")


@dataclass(frozen=True)
class Block:
    """How long some updates took, and how long the save before them kept the first one waiting, in seconds."""

    seconds: float
    waited: float


class Contest:
    """One model, and its two ways to save."""

    def __init__(self, arm: SeqtrainTrainer, batches: list[Batch], folder: Path) -> None:
        self._arm = arm
        self._batches = batches
        schedule = Fixed(FixedConfig(), arm.learner.optimizer)
        writers = {"background": BackgroundWriter(), "waiting": CheckpointWriter()}
        self._savers = {
            name: Saver(arm.learner, schedule, CheckpointKeeper(folder / name, KeepPolicy(1, 0, False)), "", writer)
            for name, writer in writers.items()
        }

    def run(self, name: str) -> Block:
        """Make the updates of one block, with a save or without."""
        saver = self._savers.get(name)
        os.sync()  # nothing of the block before is still on its way to the disk
        start = time.perf_counter()
        if saver is not None:
            saver.save(TrainState(num_updates=self._arm.num_updates), metric=None)
        waited = time.perf_counter() - start
        for batch in self._batches:
            self._arm.update(batch)
        if saver is not None:
            saver.writer.wait()
        return Block(time.perf_counter() - start, waited)


def measure(contest: Contest, num_rounds: int) -> dict[str, list[Block]]:
    """Each round's blocks."""
    blocks: dict[str, list[Block]] = {name: [] for name in ARMS}
    for number in range(num_rounds):
        for position in range(len(ARMS)):
            name = ARMS[(number + position) % len(ARMS)]
            blocks[name].append(contest.run(name))
    return blocks


def report(blocks: dict[str, list[Block]]) -> str:
    """A table: the time of each kind of block, and its ratio to that without a save."""
    lines = [
        "| saves | block, median | before the first update, median | ratio of blocks, median of the rounds [95 %] |",
        "|---|---|---|---|",
    ]
    for name, mine in blocks.items():
        ratios = [block.seconds / other.seconds for block, other in zip(mine, blocks["without"], strict=True)]
        interval = bootstrap_median(ratios)
        seconds, waited = (statistics.median(values) for values in zip(*map(astuple, mine), strict=True))
        lines.append(
            f"| {name} | {seconds:.2f} s | {1000 * waited:.0f} ms | "
            f"{interval.median:.3f} [{interval.low:.3f}, {interval.high:.3f}] |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--updates", type=int, default=50, help="updates of a block")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=4096, help="of a batch")
    parser.add_argument("--width", type=int, default=128, help="of the model: 128 is multi30k_tiny")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--folder", type=Path, help="of a disk to write to, instead of that of temporary files")
    arguments = parser.parse_args()
    shape = replace(SHAPES["tiny-128"], width=arguments.width, ffn_width=2 * arguments.width)
    arm = SeqtrainTrainer(Settings("", shape, arguments.precision, "", arguments.threads))
    dataset, description = multi30k()
    batches = list(itertools.islice(endless_batches(dataset, arguments.max_tokens), arguments.updates))
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        contest = Contest(arm, batches, folder)
        for name in ARMS[1:]:  # kernels and memory are made here
            contest.run(name)
        table = report(measure(contest, arguments.rounds))
        num_bytes = sum(path.stat().st_size for path in (folder / "waiting").glob("update_*/*"))
    finally:
        shutil.rmtree(folder)
    facts = {**machine(), "data": description, "checkpoint_megabytes": round(num_bytes / 1e6)}
    print(json.dumps({**facts, **{name: str(value) for name, value in vars(arguments).items()}}))
    print(table)


if __name__ == "__main__":
    main()
