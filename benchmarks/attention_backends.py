"""How fast attention is, padded and packed, by each backend: forward and backward of the layers of a Transformer.

    python -m benchmarks.attention_backends --device cuda                 # 25,000 tokens a batch, in bfloat16
    python -m benchmarks.attention_backends --tokens 4096 --layers 2      # on a CPU, with what runs there
    python -m benchmarks.attention_backends --clock cpu                   # on a machine that does other work as well

The lengths are drawn to the means and 95th percentiles of Multi30k and of WMT after BPE. A layer has the attention of
an encoder and of a decoder, 8 heads of 64 features; what hides padding or other sentences is made once for all layers,
as in a model. Padded batches come from the plan that sorts by length, packed ones from the packed plan, so that a round
compares the same number of examples of one corpus, by target tokens a second.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness.contest import Block, run_rounds
from benchmarks.harness.facts import machine
from benchmarks.harness.probe import Probe
from benchmarks.harness.report import RESULTS, rounds_record, table, write_results
from seqtrain.config.root import AttentionBackend, TrainBatchingConfig
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.loader import BatchIterator
from seqtrain.data.pairs import PairDataset
from seqtrain.data.tokens import IntArray, TokenTable
from seqtrain.nn.attention_backends import padding_bias
from seqtrain.nn.attention_probe import AttentionProblem, Inputs
from seqtrain.nn.attention_shape import AttentionSize
from seqtrain.nn.layout import Layout
from seqtrain.nn.packed_layout import PackedLayout
from seqtrain.nn.varlen_attention import why_no_varlen

HEADS = AttentionSize(num_heads=8, head_dim=64, dropout=0.0)
NUM_PAIRS = 100_000
CORRELATION = 0.9  # of the logarithms of source and target length
Z_95 = 1.645
BASELINE = "padded, sdpa"


@dataclass(frozen=True)
class Mix:
    """The lengths of a corpus: means and 95th percentiles of source and target, in tokens."""

    means: tuple[float, float]
    percentiles: tuple[float, float]

    def lengths(self) -> IntArray:
        """(N, 2) lognormal lengths."""
        generator = np.random.default_rng(1)
        shared, own = generator.standard_normal((2, NUM_PAIRS))
        mixed = CORRELATION * shared + math.sqrt(1 - CORRELATION**2) * own
        columns = []
        for mean, percentile, normal in zip(self.means, self.percentiles, (shared, mixed), strict=True):
            # mean = exp(m + s² / 2) and percentile = exp(m + Z s) have the smaller solution of s² / 2 - Z s + log ratio
            deviation = Z_95 - math.sqrt(Z_95**2 - 2 * math.log(percentile / mean))
            columns.append(np.exp(math.log(mean) - deviation**2 / 2 + deviation * normal))
        lengths: IntArray = np.clip(np.stack(columns, axis=1).round(), 2, 250).astype(np.int64)
        return lengths

    def dataset(self) -> PairDataset:
        """Pairs of these lengths, of one and the same token."""
        tables = []
        for side in self.lengths().T:
            offsets = np.concatenate([[0], np.cumsum(side)])
            tables.append(TokenTable(np.full(int(offsets[-1]), 5, dtype=np.uint16), offsets))
        return PairDataset(*tables)


MIXES = {"multi30k": Mix((14.6, 15.1), (23.0, 25.0)), "wmt": Mix((30.0, 32.0), (68.0, 74.0))}


@dataclass(frozen=True)
class Settings:
    """What all arms of a contest have in common."""

    device: torch.device
    dtype: torch.dtype
    num_layers: int
    max_tokens: int
    num_batches: int

    def batches(self, dataset: PairDataset, *, packed: bool) -> Iterator[Batch]:
        """The first batches of an epoch, on the device."""
        options = IterationOptions(
            batching=TrainBatchingConfig(max_tokens=self.max_tokens, num_prefetch=0),
            max_positions=(1024, 1024),
            packed=packed,
        )
        updates = iter(BatchIterator(dataset, options))
        for _ in range(self.num_batches):
            yield next(updates)[0].to(self.device)

    def problem(self, batch: Batch) -> AttentionProblem:
        """The attention of all layers over a batch."""
        return AttentionProblem(
            make_layouts=lambda: _layouts(batch),
            size=HEADS,
            num_layers=self.num_layers,
            dtype=self.dtype,
            device=self.device,
        )


def _layouts(batch: Batch) -> tuple[Layout, Layout, torch.Tensor | None]:
    if batch.packed_sources is not None and batch.packed_targets is not None:
        return PackedLayout.of_tokens(batch.packed_sources), PackedLayout.of_tokens(batch.packed_targets), None
    assert batch.source_tokens is not None, "there are sources"
    assert batch.source_lengths is not None, "there are sources"
    bias = padding_bias(batch.source_lengths, batch.source_tokens.shape[1]) if batch.has_source_padding else None
    return Layout.dense(batch.source_tokens), Layout.dense(batch.targets), bias


class BackendArm:
    """A contestant: batches of one form, computed by one backend."""

    def __init__(self, name: str, backend: AttentionBackend, batches: list[Batch], settings: Settings) -> None:
        """Make inputs for each batch.

        Args:
            name: In the tables; one that ends in "cudnn" prefers that kernel.
            backend: Of the attention.
            batches: What it computes, in turn.
            settings: Of the contest.
        """
        self.name = name
        self._backend = backend
        self._device = settings.device
        self._work = [batch.num_tokens for batch in batches]
        problems = [settings.problem(batch) for batch in batches]
        self._pieces: list[tuple[AttentionProblem, Inputs]] = [(problem, problem.inputs()) for problem in problems]

    def run(self, first: int, number: int) -> Block:
        """Compute so many batches."""
        with self._kernels():
            self._wait()
            begin, used = time.perf_counter(), time.process_time()
            for piece in range(first, first + number):
                problem, inputs = self._pieces[piece % len(self._pieces)]
                problem.run(self._backend, inputs)
            self._wait()
            work = sum(self._work[piece % len(self._work)] for piece in range(first, first + number))
            return Block(time.perf_counter() - begin, time.process_time() - used, work)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def _kernels(self) -> AbstractContextManager[object]:
        if not self.name.endswith("cudnn"):
            return nullcontext()
        from torch.nn.attention import SDPBackend, sdpa_kernel

        order = [
            SDPBackend.CUDNN_ATTENTION,
            SDPBackend.FLASH_ATTENTION,
            SDPBackend.EFFICIENT_ATTENTION,
            SDPBackend.MATH,
        ]
        return sdpa_kernel(order, set_priority=True)


def make_arms(mix: Mix, settings: Settings) -> list[BackendArm]:
    """All forms and backends that there are on the device."""
    dataset = mix.dataset()
    padded = list(settings.batches(dataset, packed=False))
    packed = list(settings.batches(dataset, packed=True))
    sdpa, matmul, varlen = AttentionBackend.sdpa, AttentionBackend.matmul, AttentionBackend.varlen
    choices = [(BASELINE, sdpa, padded), ("packed, sdpa", sdpa, packed)]
    if settings.device.type == "cpu":
        choices += [("padded, matmul", matmul, padded), ("packed, matmul", matmul, packed)]
    else:
        choices += [("padded, sdpa, cudnn", sdpa, padded), ("packed, sdpa, cudnn", sdpa, packed)]
        if why_no_varlen(settings.device, settings.dtype, HEADS.head_dim, HEADS.dropout) is None:
            choices.append(("packed, varlen", varlen, packed))
    return [BackendArm(name, backend, batches, settings) for name, backend, batches in choices]


def main() -> None:
    """Let the backends take turns on each mix, print the tables, and write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["bf16", "fp16", "fp32"], help="default: bf16 on CUDA, else fp32")
    parser.add_argument("--tokens", type=int, default=25_000, help="batching.max_tokens")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--batches", type=int, default=8, help="different ones")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pieces", type=int, default=8, help="batches of a block")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--output", type=Path, default=RESULTS / "attention_backends.md")
    arguments = parser.parse_args()
    precision = arguments.precision or ("bf16" if arguments.device == "cuda" else "fp32")
    settings = Settings(
        device=torch.device(arguments.device),
        dtype={"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision],
        num_layers=arguments.layers,
        max_tokens=arguments.tokens,
        num_batches=arguments.batches,
    )
    facts, num_threads = machine(), torch.get_num_threads()
    sections = [
        f"{facts['date']}, {facts['cpu']}, {arguments.device}, {num_threads} threads, {precision}, {arguments.tokens} "
        f"tokens a batch, {arguments.layers} layers, {arguments.rounds} rounds, {arguments.clock} clock, commit "
        f"{facts['commit']}: `{facts['command']}`."
    ]
    record: dict[str, object] = {"facts": facts}
    for name, mix in MIXES.items():
        rounds = run_rounds(
            make_arms(mix, settings),
            num_rounds=arguments.rounds,
            num_pieces=arguments.pieces,
            num_warmup=arguments.batches,
            probe=Probe(num_threads, arguments.device, arguments.clock),
            clock=arguments.clock,
        )
        sections += [f"## {name}", table(rounds, BASELINE, unit="target tokens")]
        record[name] = rounds_record(rounds)
    print("\n\n".join(sections))
    write_results(arguments.output, "Attention", sections, record)


if __name__ == "__main__":
    main()
