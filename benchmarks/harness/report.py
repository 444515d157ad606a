"""Tables, and the JSON beside them."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.contest import Block, Rounds
from benchmarks.harness.facts import Facts, machine_name

RESULTS = Path(__file__).resolve().parents[1] / "results"

_UNFINISHED = "**Unfinished**: the benchmark was still running when this was written, or was ended before its time."


def dated_path(folder: Path, benchmark: str, facts: Facts) -> Path:
    """The Markdown file of a benchmark on the machine of these facts, today: of each machine one result is kept."""
    return folder / f"{benchmark}-{machine_slug(facts)}-{time.strftime('%Y-%m-%d')}.md"


def machine_slug(facts: Facts) -> str:
    """A machine's name for names of files."""
    return re.sub(r"[^a-z0-9]+", "-", machine_name(facts).lower()).strip("-")


def table(rounds: Rounds, baseline: str, *, unit: str) -> str:
    """A Markdown table: the speed of each arm in `unit` a second, and its ratio to the baseline."""
    lines = [
        f"| arm | {unit}/s, median | ratio to {baseline}, median [95 %] | ratio of the best |",
        "|---|---|---|---|",
    ]
    for name in rounds.blocks:
        interval, best = rounds.interval(name, baseline), rounds.best_ratio(name, baseline)
        speed = statistics.median(rounds.speeds(name))
        lines.append(f"| {name} | {speed:,.0f} | {interval} | {best:.2f} |")
    return "\n".join(lines)


def write_results(path: Path, title: str, sections: Sequence[str], record: Facts, *, is_finished: bool = True) -> None:
    """Write a Markdown file of these sections, and the record as JSON beside it; each is there whole or not at all.

    Args:
        path: Of the Markdown file.
        title: Its heading.
        sections: Its paragraphs.
        record: The same and more, for programs.
        is_finished: No for what is written while the benchmark still runs: both files say so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    head = [f"# {title}", *([] if is_finished else [_UNFINISHED])]
    told = {**record, **({} if is_finished else {"is_finished": False})}
    _write(path.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    _write(path, "\n\n".join([*head, *sections]) + "\n")


def rounds_record(rounds: Rounds) -> Facts:
    """All figures of the rounds, for the JSON."""
    return {"clock": rounds.clock, "blocks": {name: list(map(asdict, own)) for name, own in rounds.blocks.items()}}


def rounds_of(record: dict[str, Any]) -> Rounds:
    """The rounds of a record again."""
    blocks = {
        name: [Block(**{**block, "probes": tuple(block["probes"])}) for block in own]
        for name, own in record["blocks"].items()
    }
    return Rounds(blocks, record["clock"])


def _write(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
