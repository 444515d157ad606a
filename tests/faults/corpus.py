"""Text whose preparation takes some seconds and several processes, and the folder that it becomes."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

from tests.system.runs import command, environment

NUM_LINES = 40_000
OUTPUT = "data-bin"
TINY = (
    "model=transformer_demo",
    "model.encoder_embed_dim=16",
    "model.decoder_embed_dim=16",
    "model.encoder_ffn_embed_dim=16",
    "model.decoder_ffn_embed_dim=16",
    "training.precision=fp32",
    "training.max_updates=2",
    "validation.interval_epochs=null",
    "batching.max_tokens=1024",
    "task.cache=cache",
    "hydra.run.dir=run",
)
"""Two updates of a model that is as small as can be."""


def write_text(folder: Path, *, num_lines: int = NUM_LINES) -> Path:
    """Random words in two languages, of which one alone is long enough for processes that tokenize."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 8))) for _ in range(500)]
    folder.mkdir()
    for split, count in (("train", num_lines), ("valid", 100)):
        lines = [" ".join(draw.choices(words, k=30)) for _ in range(count)]
        for language, side in (("en", [line[:8] for line in lines]), ("de", lines)):
            (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in side), encoding="utf-8")
    return folder


def task(text: Path) -> tuple[str, ...]:
    """The overrides of a task that learns from that text."""
    return (
        "task=translation",
        f"task.data={text}",
        "task.source_lang=en",
        "task.target_lang=de",
        "task.tokenizer=sentencepiece",
        "task.vocab_size=2000",
    )


def preprocess(text: Path, folder: Path, *, mark: str = "") -> subprocess.Popen[str]:
    """Start `python -m seqtrain.preprocess` in a folder, with two processes that tokenize.

    Args:
        text: From `write_text`.
        folder: Where it runs, and where it makes the folder data-bin.
        mark: An environment variable of the process and of its own processes: what `marked` finds them by.
    """
    return subprocess.Popen(
        command("preprocess", *task(text), f"output={OUTPUT}", "num_workers=2"),
        cwd=folder,
        env={**environment(1), mark: "1"} if mark else environment(1),
        stderr=subprocess.PIPE,
        text=True,
    )


def train(text: Path, folder: Path) -> subprocess.Popen[str]:
    """Start two updates of training on text that is not in the cache."""
    return subprocess.Popen(
        command("train", *task(text), *TINY),
        cwd=folder,
        env=environment(1),
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_line(process: subprocess.Popen[str], number: int) -> None:
    """Wait until a command has said so many lines on stderr, or has ended."""
    assert process.stderr is not None
    for _ in range(number):
        process.stderr.readline()


def marked(mark: str) -> list[int]:
    """The processes that have an environment variable."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                variables = Path("/proc", name, "environ").read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            if f"{mark}=1".encode() in variables:
                found.append(int(name))
    return found


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
