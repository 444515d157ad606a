"""A small parallel text, and translation tasks that read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqtrain.data.tokenizers import TokenizerKind
from seqtrain.tasks.translation import TranslationConfig, TranslationTask

ENGLISH = ["a red house", "the cat", "a cat", "the red cat", "house"]
GERMAN = ["ein rotes haus", "die katze", "eine katze", "die rote katze", "haus"]


def write(folder: Path, split: str, english: Sequence[str] = ENGLISH, german: Sequence[str] = GERMAN) -> None:
    for language, lines in (("en", english), ("de", german)):
        (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def make_task(folder: Path, **settings: Any) -> TranslationTask:
    values: dict[str, Any] = {
        "tokenizer": TokenizerKind.whitespace,
        "source_lang": "en",
        "target_lang": "de",
        "cache": str(folder.parent / "cache"),
        **settings,
    }
    return TranslationTask(TranslationConfig(data=str(folder), **values))


def ready(folder: Path, **settings: Any) -> TranslationTask:
    task = make_task(folder, **settings)
    task.setup()
    return task


def text_of(task: TranslationTask, split: str) -> list[str]:
    dataset = task.load_dataset(split)
    return [task.decode(dataset.collate(np.array([number])).targets[0].numpy()) for number in range(len(dataset))]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
