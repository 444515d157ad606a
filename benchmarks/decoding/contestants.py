"""Who decodes, by what command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness import environments
from benchmarks.harness.process import ArmProcess

Precision = str


@dataclass(frozen=True)
class Contestant:
    """A system in one precision.

    Attributes:
        name: Of the system and its precision.
        environment: Whose Python runs it; None for our own.
        arguments: The module, then its options.
        batches: Sizes that are tried, in source tokens with padding.
        batch: The size of its batches.
    """

    name: str
    environment: str | None
    arguments: tuple[str, ...]
    batches: tuple[int, ...]
    batch: int = 2048

    def with_batch(self, batch: int) -> Contestant:
        """The same with other batches."""
        return replace(self, batch=batch)

    def start(self, folder: Path, num_threads: int, num_pieces: int, label: str) -> ArmProcess:
        """Its process, ready to decode the job of a folder in so many pieces."""
        python = sys.executable if self.environment is None else str(environments.python(self.environment))
        module, *options = self.arguments
        threads = ["--threads", str(num_threads)]
        if self.environment == "ctranslate2" and num_threads > 1:
            threads += ["--inter-threads", str(num_threads)]  # faster than threads inside of products
        command = [python, "-m", f"benchmarks.decoding.{module}", str(folder), *options, *threads]
        return ArmProcess(
            label,
            [*command, "--batch", str(self.batch), "--pieces", str(num_pieces), "--name", label],
            {"OMP_NUM_THREADS": str(num_threads), "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")},
        )


OUR_BATCHES = (1024, 2048, 4096, 8192)
CTRANSLATE2_BATCHES = (64, 128, 256, 512, 1024, 2048)  # the fewer sentences, the more of them fits in a cache
JOEYNMT_BATCHES = (256, 1024)


def _ours(name: str, *options: str) -> Contestant:
    return Contestant(name, None, ("seqtrain_arm", *options), OUR_BATCHES)


REORDERING = _ours("seqtrain fp32, reordering", "--reorder")
OURS = [
    _ours("seqtrain fp32"),
    _ours("seqtrain bf16", "--precision", "bf16"),
    _ours("seqtrain fp32 int8", "--quantization", "int8"),
    _ours("seqtrain bf16 int8", "--precision", "bf16", "--quantization", "int8"),
    _ours("seqtrain fp32 compiled", "--compile"),
    _ours("seqtrain bf16 compiled", "--precision", "bf16", "--compile"),
    _ours("seqtrain bf16 int8 compiled", "--precision", "bf16", "--quantization", "int8", "--compile"),
]
CTRANSLATE2 = [
    Contestant("CTranslate2 float32", "ctranslate2", ("ctranslate2_arm", "--type", "float32"), CTRANSLATE2_BATCHES),
    Contestant("CTranslate2 int8", "ctranslate2", ("ctranslate2_arm", "--type", "int8"), CTRANSLATE2_BATCHES),
]
JOEYNMT = [
    Contestant("JoeyNMT fp32", "joeynmt", ("joeynmt_arm",), JOEYNMT_BATCHES),
    Contestant("JoeyNMT bf16", "joeynmt", ("joeynmt_arm", "--precision", "bf16"), JOEYNMT_BATCHES),
]


@contextmanager
def running(
    folder: Path, num_threads: int, num_pieces: int, entries: Sequence[tuple[str, Contestant]]
) -> Iterator[list[ArmProcess]]:
    """The processes of labelled contestants, which end with the block."""
    arms: list[ArmProcess] = []
    try:
        for label, contestant in entries:
            arms.append(contestant.start(folder, num_threads, num_pieces, label))
        yield arms
    finally:
        for arm in arms:
            arm.close()
