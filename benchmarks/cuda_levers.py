"""What each lever of training on a GPU is worth: the first thing to run on a new kind of GPU.

    python -m benchmarks.cuda_levers                                    # all, on CUDA in bfloat16
    python -m benchmarks.cuda_levers --parts update --tokens 4096       # where the host is what is slow
    python -m benchmarks.cuda_levers --device cpu --parts products loss --tokens 512 --types 1000    # does it run?

    products    matrix products as wide as those of a Transformer: TFLOP/s
    loss        the fused loss, for sizes of its chunks
    update      whole updates: padded and packed batches, torch.compile, CUDA graphs, for small and large batches

The results say which defaults are right: `_CHUNK_BYTES` of `seqtrain.nn.linear_cross_entropy`, training.compile,
training.cuda_graphs and its greatest number of tokens, batching.form. What computes attention is measured by
`benchmarks.attention_backends`, and seqtrain against others by `benchmarks.train`.
"""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.harness.facts import Facts, machine
from benchmarks.harness.report import RESULTS, write_results
from benchmarks.training import token_batches
from benchmarks.training.peers.seqtrain_model import SeqtrainTrainer
from benchmarks.training.settings import SHAPES, Form, Settings, Shape
from benchmarks.training.work import make_batches
from seqtrain.nn import linear_cross_entropy as fused_loss
from seqtrain.training.recording import CudaTape, RecordedPass

NUM_WINDOWS = 5
CHUNK_BYTES = [2**power for power in range(24, 31)]
WIDTHS = (512, 1024)
FORMS: tuple[Form, ...] = ("padded", "packed-sdpa", "packed-varlen")


class Clock:
    """Measures work on a device, which is waited for at the end of each window alone."""

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device = device
        self._seconds = seconds

    def measure(self, work: Callable[[], object]) -> float:
        """Seconds of one piece of work: the median of windows, after one that does not count."""
        return statistics.median([self._window(work) for _ in range(NUM_WINDOWS + 1)][1:])

    def _window(self, work: Callable[[], object]) -> float:
        self.wait()
        begin, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - begin < self._seconds / NUM_WINDOWS:
            work()
            count += 1
        self.wait()
        return (time.perf_counter() - begin) / count

    def wait(self) -> None:
        """Until all work is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_bytes(self, work: Callable[[], object]) -> int:
        """Of a GPU's memory."""
        if self.device.type != "cuda":
            return 0
        torch.cuda.reset_peak_memory_stats(self.device)
        work()
        self.wait()
        return torch.cuda.max_memory_allocated(self.device)


def products(clock: Clock, options: argparse.Namespace) -> Iterator[Facts]:
    """The products of a layer, forward, and those of its two gradients: rows x (K -> N)."""
    for num_rows, width in itertools.product(options.tokens, WIDTHS):
        for name, inner, outer in (
            ("query, key, value", width, 3 * width),
            ("attention output", width, width),
            ("feed-forward, in", width, 4 * width),
            ("feed-forward, out", 4 * width, width),
        ):
            x, y = (torch.randn(num_rows, size, device=clock.device, dtype=options.dtype) for size in (inner, outer))
            weight = torch.randn(outer, inner, device=clock.device, dtype=options.dtype)
            kinds = {"y = x W'": (x, weight.t()), "dx = dy W": (y, weight), "dW = dy' x": (y.t(), x)}
            for kind, factors in kinds.items():
                seconds = clock.measure(functools.partial(torch.mm, *factors))
                rate = 2 * num_rows * inner * outer / seconds / 1e12
                yield {"rows": num_rows, "width": width, "layer": name, "product": kind, "TFLOP/s": round(rate, 1)}


def loss(clock: Clock, options: argparse.Namespace) -> Iterator[Facts]:
    """The fused loss with both gradients, for several sizes of the logits of a chunk."""
    kind, kept = clock.device.type, dict(fused_loss._CHUNK_BYTES)
    for num_tokens, width, size in itertools.product(options.tokens, WIDTHS, CHUNK_BYTES):
        features = torch.randn(num_tokens, width, device=clock.device, dtype=options.dtype, requires_grad=True)
        weight = torch.randn(options.types, width, device=clock.device, requires_grad=True)
        targets = torch.randint(options.types, (num_tokens,), device=clock.device)
        fused_loss._CHUNK_BYTES[kind] = size
        work = _Loss(features, weight, targets, options.dtype)
        seconds, peak = clock.measure(work), clock.peak_bytes(work)
        yield {
            "tokens": num_tokens,
            "width": width,
            "MiB a chunk": size >> 20,
            "ms": round(1000 * seconds, 3),
            "peak MiB": peak >> 20,
        }
    fused_loss._CHUNK_BYTES.update(kept)


@dataclass(frozen=True)
class _Loss:
    features: torch.Tensor
    weight: torch.Tensor
    targets: torch.Tensor
    dtype: torch.dtype

    def __call__(self) -> None:
        with torch.autocast(self.features.device.type, dtype=self.dtype, enabled=self.dtype is not torch.float32):
            value, _ = fused_loss.linear_cross_entropy(self.features, self.weight, self.targets, label_smoothing=0.1)
        torch.autograd.grad(value, (self.features, self.weight))


@dataclass(frozen=True)
class Levers:
    """How an update is made."""

    form: Form
    is_compiled: bool
    is_recorded: bool


def update(clock: Clock, options: argparse.Namespace) -> Iterator[Facts]:
    """Whole updates in each way that goes together."""
    for max_tokens in options.tokens:
        path, _ = make_batches(SHAPES[options.shape], num_batches=options.batches, max_tokens=max_tokens, seed=1)
        settings = Settings("", SHAPES[options.shape], options.precision, str(path), 1, str(clock.device))
        for form, is_compiled, is_recorded in itertools.product(FORMS, (False, True), (False, True)):
            levers = Levers(form, is_compiled, is_recorded)
            if (form == "packed-varlen" or is_recorded) and clock.device.type != "cuda":
                continue
            if is_recorded and form == "padded":
                continue
            yield {"tokens": max_tokens, **vars(levers), **_measure_updates(clock, settings, levers)}
            gc.collect()  # the model before is not to be in the peak of the next


def _measure_updates(clock: Clock, settings: Settings, levers: Levers) -> Facts:
    begin = time.perf_counter()
    trainer = SeqtrainTrainer(replace(settings, form=levers.form, is_compiled=levers.is_compiled))
    if levers.is_recorded:
        recording = RecordedPass(trainer.learner.module, CudaTape(clock.device))
        trainer.learner = replace(trainer.learner, recording=recording)
    plan = trainer.plan(token_batches.load(Path(settings.batches)))
    batches = [trainer.prepare(batch) for batch in plan]
    for batch in batches:  # makes all kernels and graphs
        trainer.update(batch)
    clock.wait()
    start_seconds = time.perf_counter() - begin
    turns = itertools.cycle(batches)
    seconds = clock.measure(lambda: trainer.update(next(turns)))
    peak = clock.peak_bytes(lambda: trainer.update(next(turns)))
    num_tokens = statistics.mean(batch.num_tokens for batch in plan)
    flops = statistics.mean(batch.flops(settings.shape) for batch in plan)
    return {
        "ms": round(1000 * seconds, 2),
        "target tokens/s": round(num_tokens / seconds),
        "TFLOP/s": round(flops / seconds / 1e12, 2),
        "peak MiB": peak >> 20,
        "start s": round(start_seconds, 1),
    }


PARTS = {"products": products, "loss": loss, "update": update}


def markdown(rows: Sequence[Facts]) -> str:
    """A table with a column for each key of the first row."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows)])


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--device", default="cuda", help="where")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="of the products")
    parser.add_argument("--tokens", nargs="+", type=int, default=[4096, 25_000], help="of a batch, padding included")
    parser.add_argument("--types", type=int, default=37_000, help="of the vocabulary of the loss")
    parser.add_argument("--shape", choices=[name for name, shape in SHAPES.items() if _is_for_updates(shape)])
    parser.add_argument("--batches", type=int, default=50, help="different batches of the updates")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure")
    parser.set_defaults(shape="base")
    options = parser.parse_args()
    options.dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu shows whether the program runs")
    return options


def _is_for_updates(shape: Shape) -> bool:
    return not shape.is_decoder_only


def main() -> None:
    """Measure, show, write down."""
    options = parse()
    clock = Clock(torch.device(options.device), options.seconds)
    facts, record, sections = machine(), {}, []
    for name in options.parts:
        rows = []
        for row in PARTS[name](clock, options):
            print(name, row, flush=True)
            rows.append(row)
        record[name] = rows
        sections += [f"## {name}", markdown(rows)]
    if options.device.startswith("cuda"):
        write_results(RESULTS / "cuda_levers.md", "Levers of training on a GPU", sections, {**facts, **record})


if __name__ == "__main__":
    main()
