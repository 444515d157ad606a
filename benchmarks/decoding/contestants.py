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
        batch: The size of its batches, in source tokens with padding.
    """

    name: str
    environment: str | None
    arguments: tuple[str, ...]
    batch: int = 2048

    def with_batch(self, batch: int) -> Contestant:
        """The same with other batches."""
        return replace(self, batch=batch)

    def start(self, folder: Path, num_threads: int, label: str) -> ArmProcess:
        """Its process, ready to decode the job of a folder."""
        python = sys.executable if self.environment is None else str(environments.python(self.environment))
        module, *options = self.arguments
        threads = ["--threads", str(num_threads)]
        if self.environment == "ctranslate2" and num_threads > 1:
            threads += ["--inter-threads", str(num_threads)]  # faster than threads inside of products
        command = [python, "-m", f"benchmarks.decoding.{module}", str(folder), *options, *threads]
        return ArmProcess(
            label,
            [*command, "--batch", str(self.batch), "--name", label],
            {"OMP_NUM_THREADS": str(num_threads), "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")},
        )


def _ours(name: str, *options: str) -> Contestant:
    return Contestant(name, None, ("seqtrain_arm", *options))


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
    Contestant("CTranslate2 float32", "ctranslate2", ("ctranslate2_arm", "--type", "float32")),
    Contestant("CTranslate2 int8", "ctranslate2", ("ctranslate2_arm", "--type", "int8")),
]
JOEYNMT = [
    Contestant("JoeyNMT fp32", "joeynmt", ("joeynmt_arm",)),
    Contestant("JoeyNMT bf16", "joeynmt", ("joeynmt_arm", "--precision", "bf16")),
]


@contextmanager
def running(folder: Path, num_threads: int, entries: Sequence[tuple[str, Contestant]]) -> Iterator[list[ArmProcess]]:
    """The processes of labelled contestants, which end with the block."""
    arms: list[ArmProcess] = []
    try:
        for label, contestant in entries:
            arms.append(contestant.start(folder, num_threads, label))
        yield arms
    finally:
        for arm in arms:
            arm.close()
