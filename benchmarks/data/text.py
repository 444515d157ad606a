"""Contestants that turn raw text into binarised files: from the same text, merges and vocabulary, the same bytes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.contest import Block
from benchmarks.harness.facts import CHECKOUT


@dataclass(frozen=True)
class TextWork:
    """What is to be done.

    Attributes:
        text: A sentence a line.
        codes: The merges.
        vocabulary: A `dict.txt`.
        folder: For what comes out.
    """

    text: Path
    codes: Path
    vocabulary: Path
    folder: Path


class SeqtrainText:
    """One command; its processes cut the lines, and it gives the pieces their numbers."""

    def __init__(self, name: str, work: TextWork) -> None:
        self.name = name
        self._work = work
        self.output = work.folder / f"{name}.bin"

    def run(self, first: int, number: int) -> Block:
        """See `contest.Arm`; the work is the megabytes of the text."""
        start, before = time.perf_counter(), _processor_seconds()
        for _ in range(number):
            for command in self.commands():
                subprocess.run(command, check=True, cwd=CHECKOUT, env=_ENVIRONMENT, stderr=subprocess.DEVNULL)
        seconds, processor_seconds = time.perf_counter() - start, _processor_seconds() - before
        return Block(seconds, processor_seconds, number * self._work.text.stat().st_size / 1e6)

    def commands(self) -> list[Sequence[str]]:
        """What to run, one after the other."""
        work = self._work
        prefix = self.output.with_suffix("")
        paths = map(str, (work.text, work.codes, work.vocabulary, prefix))
        return [[sys.executable, "-m", "benchmarks.data.binarise", *paths]]


class PublishedText(SeqtrainText):
    """fairseq's published way: subword-nmt on all cores, then for each line a look-up of its pieces and an append.

    subword-nmt is called as a module, for its command does not heed the number of workers. fairseq fills a tensor
    element by element besides, which is left out here: the second half does the least it can.
    """

    def __init__(self, name: str, work: TextWork, python: Path) -> None:
        super().__init__(name, work)
        self._python = python

    def commands(self) -> list[Sequence[str]]:
        """See `SeqtrainText`."""
        work, pieces = self._work, self._work.folder / "pieces.txt"
        apply = ["--num-workers", os.cpu_count() or 1, "--codes", work.codes, "--input", work.text, "--output", pieces]
        binarise = [Path(__file__).with_name("look_up.py"), pieces, work.vocabulary, self.output]
        return [
            [str(self._python), "-m", "subword_nmt.apply_bpe", *map(str, apply)],
            [str(self._python), *map(str, binarise)],
        ]


_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
