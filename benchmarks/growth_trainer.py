"""One run of `benchmarks.growth`: trains a small model on a data-bin folder, and prints JSON of what that took."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from seqtrain.assemble import build_trainer
from seqtrain.config.check import typed
from seqtrain.config.root import TrainConfig
from seqtrain.data.batch import Batch
from seqtrain.training.signals import StopRequest
from seqtrain.training.stopwatch import Stopwatch

MAX_TOKENS = 1024


class UpdateTimes(Stopwatch):
    """Notes when each update begins, and how much memory there was then."""

    def __init__(self) -> None:
        self.begins: list[dict[str, float]] = []  # by two clocks
        self.anonymous_bytes = 0

    def median(self, clock: str) -> float:
        """The seconds of an update; the first quarter, in which memory is taken, does not count."""
        begins = [begin[clock] for begin in self.begins[len(self.begins) // 4 :]]
        return statistics.median(end - begin for begin, end in pairwise(begins))

    def updates(self, batches: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        """See `Stopwatch`."""
        for update in batches:
            self.begins.append({"wall": time.monotonic(), "cpu": time.process_time()})
            self.anonymous_bytes = max(self.anonymous_bytes, anonymous_memory())
            yield update


def anonymous_memory() -> int:
    """The bytes of this process that are no mapped files, which the system can take back."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def settings(data: Path, num_updates: int, width: int) -> dict[str, Any]:
    """A config of one encoder layer and one decoder layer, without validation and checkpoints in between."""
    layers: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        layers |= {f"{side}_layers": 1, f"{side}_embed_dim": width, f"{side}_ffn_embed_dim": width}
        layers |= {f"{side}_attention_heads": 4}
    return {
        "task": {"_name": "translation", "data": str(data), "source_lang": "a", "target_lang": "b"},
        "model": {"_name": "transformer", "share_all_embeddings": True, **layers},
        "criterion": {"_name": "label_smoothed_cross_entropy"},
        "optimizer": {"_name": "adam", "lr": 0.001},
        "lr_scheduler": {"_name": "fixed"},
        "batching": {"max_tokens": MAX_TOKENS},
        "training": {"max_updates": num_updates, "num_threads": 1, "precision": "fp32", "device": "cpu"},
        "validation": {"interval_epochs": None},
        "checkpoint": {"save_interval_epochs": None, "save_interval_updates": None},
        "logging": {"progress": "none"},
    }


def main() -> None:
    """Train, and print the figures."""
    data, run_folder, num_updates, width = sys.argv[1:]
    Path(run_folder).mkdir(parents=True)
    config = typed(TrainConfig, settings(Path(data), int(num_updates), int(width)))
    times = UpdateTimes()
    with StopRequest() as stop:
        trainer = build_trainer(config, Path(run_folder), stop)
        trainer.learner = replace(trainer.learner, stopwatch=times)
        trainer.fit()
    figures = {
        "second_update_begins": times.begins[1],
        "seconds_per_update": {clock: times.median(clock) for clock in ("wall", "cpu")},
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "peak_anonymous_bytes": times.anonymous_bytes,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
