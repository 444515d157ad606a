"""How fast the data side is: planning, collation, raw text to numbers, and how each grows.

    python -m benchmarks.data_speed --rounds 12            # half an hour on two free cores
    python -m benchmarks.data_speed --most 1000000 --lines 50000 --rounds 5

All corpora are made up in a temporary folder, which needs 3 GB for 10^8 pairs.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.data.collation import CollateArm, LoopArm, PackedArm, plan_batches, random_pairs
from benchmarks.data.corpora import write_pairs, write_text
from benchmarks.data.text import PublishedText, SeqtrainText, TextWork
from benchmarks.data.vocabularies import measure_vocabularies, record, vocabulary_table
from benchmarks.harness.claims import AGAIN, Claim, are_enough, claims_record, claims_table, same_arm_report
from benchmarks.harness.contest import Rounds, run_rounds
from benchmarks.harness.environments import python
from benchmarks.harness.facts import CHECKOUT, Facts, machine
from benchmarks.harness.intervals import bootstrap_median
from benchmarks.harness.probe import Probe
from benchmarks.harness.report import RESULTS, rounds_record, table, write_results
from seqtrain.data.vocabulary import Vocabulary

NUM_MERGES = 8000
MANY_PAIRS = 10_000_000
NUM_LEARNED_FROM = 30_000
BATCH_TOKENS = (4096, 25_000)
OURS, PACKED, PUBLISHED = "seqtrain", "seqtrain, packed", "published"
CLAIMS = (
    Claim("raw text to numbers on all cores, against subword-nmt and a look-up a line", OURS, PUBLISHED, bar=5.0),
)
MOST_NANOSECONDS, LEAST_TOKENS = 300, 40e6


def measure_planning(folder: Path, most: int) -> list[dict[str, Any]]:
    """Open and plan corpora of 10^3 pairs to `most`, each in a process of its own."""
    found = []
    for exponent in range(3, 9):
        if 10**exponent > most:
            break
        with tempfile.TemporaryDirectory(dir=folder) as corpus:
            command = [sys.executable, "-m", "benchmarks.data.planning", corpus, str(10**exponent)]
            answer = subprocess.run(command, check=True, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True).stdout
        found.append(json.loads(answer))
        print(answer, file=sys.stderr, end="", flush=True)
    return found


def planning_table(found: list[dict[str, Any]]) -> str:
    """What the processes said."""
    lines = [
        "| pairs | first opening, s (GB) | opening again, ms | plan, ns a pair | of these for the cuts "
        "| first batch after, s | first batch when resumed in the middle, s | memory, MB "
        "| packed plan, ns a pair | its memory, MB |",
        f"|{'---|' * 10}",
    ]
    for row in found:
        num_pairs, first = row["num_pairs"], row["open_first"]
        lines.append(
            f"| {num_pairs:,} | {'-' if first is None else f'{first:.3f}'} ({row['gigabytes']:.3f}) "
            f"| {row['open_again'] * 1e3:.1f} | {row['planned'] / num_pairs * 1e9:,.0f} "
            f"| {row['cut'] / num_pairs * 1e9:,.0f} | {row['first_batch_wall']:.2f} | {row['resumed_wall']:.2f} "
            f"| {row['memory'] / 1e6:,.0f} "
            f"| {row['packed'] / num_pairs * 1e9:,.0f} | {row['packed_memory'] / 1e6:,.0f} |"
        )
    return "\n".join(lines)


def measure_collation(folder: Path, num_rounds: int) -> dict[int, Rounds]:
    """Batches of a corpus of a million pairs, on one core; a round makes about two million tokens."""
    dataset = random_pairs(folder, write_pairs(folder, 1_000_000))
    found = {}
    for max_tokens in BATCH_TOKENS:
        batches = plan_batches(dataset, max_tokens)
        arms = [
            LoopArm("loop", dataset, batches),
            CollateArm(OURS, dataset, batches),
            PackedArm(PACKED, dataset, max_tokens),
        ]
        found[max_tokens] = run_rounds(
            arms, num_rounds=num_rounds, num_pieces=1_000_000 // max_tokens, num_warmup=20, clock="cpu"
        )
    return found


def measure_text(folder: Path, num_lines: int, num_rounds: int) -> Rounds:
    """Raw text to numbers: all cores of this machine, by the clock."""
    interpreter = python("subword_nmt")
    work = TextWork(folder / "text", folder / "codes", folder / "dict.txt", folder)
    write_text(work.text, num_lines)
    _learn(work, interpreter.with_name("subword-nmt"))
    ours, again = SeqtrainText(OURS, work), SeqtrainText(OURS + AGAIN, work)
    published = PublishedText(PUBLISHED, work, interpreter)
    probe = Probe(os.cpu_count() or 1)
    rounds = run_rounds(
        [published, ours, again],
        num_rounds=num_rounds,
        num_pieces=1,
        num_warmup=1,
        probe=probe,
        are_enough=are_enough,
    )
    assert filecmp.cmp(ours.output, published.output, shallow=False), "the same bytes come out"
    return rounds


def _learn(work: TextWork, command: Path) -> None:
    """The merges, from the first lines; and the vocabulary of all the text's pieces."""
    sample, pieces = work.folder / "sample", work.folder / "sample.pieces"
    with work.text.open() as lines, sample.open("w") as file:
        file.writelines(line for _, line in zip(range(NUM_LEARNED_FROM), lines, strict=False))
    learn = [command, "learn-bpe", "--symbols", NUM_MERGES, "--input", sample, "--output", work.codes]
    apply = [command, "apply-bpe", "--codes", work.codes, "--input", work.text, "--output", pieces]
    for arguments in (learn, apply):
        subprocess.run(list(map(str, arguments)), check=True, stderr=subprocess.DEVNULL)
    with pieces.open() as lines:
        counts = Counter(piece for line in lines for piece in line.split())
    Vocabulary.build(counts).save(work.vocabulary)


def verdicts(planning: list[dict[str, Any]], collation: dict[int, Rounds]) -> str:
    """The bars that are no ratios: nanoseconds a pair and tokens a second."""
    lines = ["| | found | bar | |", "|---|---|---|---|"]
    for row in planning:
        if row["num_pairs"] >= MANY_PAIRS:
            for form, seconds in (("", row["planned"]), (", packed", row["packed"])):
                found = seconds / row["num_pairs"] * 1e9
                verdict = "shown" if found <= MOST_NANOSECONDS else "missed"
                what = f"planning {row['num_pairs']:,} pairs{form}, ns a pair"
                lines.append(f"| {what} | {found:.0f} | at most {MOST_NANOSECONDS} | {verdict} |")
    for max_tokens, rounds in collation.items():
        for form, arm in (("", OURS), (", packed", PACKED)):
            speed = bootstrap_median([value / 1e6 for value in rounds.speeds(arm)])
            verdict = "shown" if speed.low >= LEAST_TOKENS / 1e6 else "missed"
            what = f"collating batches of {max_tokens:,}{form}, M tokens/s"
            lines.append(f"| {what} | {speed} | at least {LEAST_TOKENS / 1e6:.0f} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all parts and write benchmarks/results/data-DATE.md and .json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="of collation")
    parser.add_argument("--text-rounds", type=int, default=60, help="at most, of text: see docs/benchmarks.md")
    parser.add_argument("--most", type=int, default=100_000_000, help="pairs of the largest corpus that is planned")
    parser.add_argument("--lines", type=int, default=300_000, help="of the text that is binarised")
    parser.add_argument("--output", type=Path, default=RESULTS / f"data-{time.strftime('%Y-%m-%d')}.md")
    arguments = parser.parse_args()
    facts = machine()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planning = measure_planning(folder, arguments.most)
        vocabularies = measure_vocabularies(folder)
        collation = measure_collation(folder, arguments.rounds)
        text = measure_text(folder, arguments.lines, arguments.text_rounds)
    sections = [
        f"{facts['date']}, {facts['cpu']}, {facts['cores']} cores, load {facts['load']}, commit {facts['commit']}: "
        f"`{facts['command']}`.",
        verdicts(planning, collation) + "\n\n" + claims_table(text, CLAIMS),
        "## Planning and opening\n\nAn epoch of pairs in batches of 4,096 tokens, processor time of one process. "
        "Memory is the most that the process held beside the mapped files.\n\n" + planning_table(planning),
        "## Vocabularies\n\n" + vocabulary_table(vocabularies),
        *(
            f"## Collation, batches of {max_tokens:,} tokens\n\nTokens of both sides that are no padding, one core, "
            "processor time.\n\n" + table(rounds, "loop", unit="tokens")
            for max_tokens, rounds in collation.items()
        ),
        f"## Raw text to numbers\n\n{arguments.lines:,} lines, {NUM_MERGES} merges, the same bytes written; megabytes "
        "of text, by the clock, starts of the processes included.\n\n"
        + table(text, PUBLISHED, unit="MB")
        + "\n\n"
        + same_arm_report(text, OURS),
    ]
    results: Facts = {
        "facts": facts,
        "planning": planning,
        "vocabularies": record(vocabularies),
        "collation": {str(max_tokens): rounds_record(rounds) for max_tokens, rounds in collation.items()},
        "text": rounds_record(text),
        "claims": claims_record(text, CLAIMS),
    }
    write_results(arguments.output, "The data side", sections, results)
    print("\n\n".join(sections))


if __name__ == "__main__":
    main()
