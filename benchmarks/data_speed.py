"""How fast the data side is: planning, collation, raw text to numbers, and how each grows.

    python -m benchmarks.data_speed --rounds 12            # half an hour on two free cores
    python -m benchmarks.data_speed --most 1000000 --lines 50000 --rounds 5
    python -m benchmarks.data_speed --parts text           # one part of it

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
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.data.collation import CollateArm, LoopArm, PackedArm, plan_batches, random_pairs
from benchmarks.data.corpora import write_pairs, write_text
from benchmarks.data.text import PublishedText, SeqtrainText, TextWork
from benchmarks.data.vocabularies import VocabularyTimes, measure_vocabularies, record, vocabulary_table
from benchmarks.harness.claims import AGAIN, Claim, claims_record, claims_table, same_arm_report, watched
from benchmarks.harness.contest import Rounds, run_rounds
from benchmarks.harness.environments import python
from benchmarks.harness.facts import CHECKOUT, Facts, machine, machine_name
from benchmarks.harness.intervals import bootstrap_median
from benchmarks.harness.probe import Probe
from benchmarks.harness.report import RESULTS, dated_path, rounds_record, table, write_results
from seqtrain.data.vocabulary import Vocabulary

NUM_MERGES = 8000
MANY_PAIRS = 10_000_000
NUM_LEARNED_FROM = 30_000
BATCH_TOKENS = (4096, 25_000)
PARTS = ("planning", "vocabularies", "collation", "text")
OURS, PACKED, PUBLISHED, LOOP = "seqtrain", "seqtrain, packed", "published", "loop"
CLAIMS = (
    Claim("raw text to numbers on all cores, against subword-nmt and a look-up a line", OURS, PUBLISHED, bar=5.0),
)
MOST_NANOSECONDS, LEAST_TOKENS = 300, 40e6


def measure_planning(folder: Path, most: int) -> Iterator[dict[str, Any]]:
    """Open and plan corpora of 10^3 pairs to `most`, each in a process of its own."""
    for exponent in range(3, 9):
        if 10**exponent > most:
            break
        with tempfile.TemporaryDirectory(dir=folder) as corpus:
            command = [sys.executable, "-m", "benchmarks.data.planning", corpus, str(10**exponent)]
            answer = subprocess.run(command, check=True, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True).stdout
        print(answer, file=sys.stderr, end="", flush=True)
        yield json.loads(answer)


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


def measure_collation(folder: Path, num_rounds: int) -> Iterator[tuple[int, Rounds]]:
    """Batches of a corpus of a million pairs, on one core; a round makes about two million tokens."""
    dataset = random_pairs(folder, write_pairs(folder, 1_000_000))
    for max_tokens in BATCH_TOKENS:
        batches = plan_batches(dataset, max_tokens)
        arms = [
            LoopArm(LOOP, dataset, batches),
            CollateArm(OURS, dataset, batches),
            PackedArm(PACKED, dataset, max_tokens),
        ]
        num_pieces = 1_000_000 // max_tokens
        yield max_tokens, run_rounds(arms, num_rounds=num_rounds, num_pieces=num_pieces, num_warmup=20, clock="cpu")


def measure_text(folder: Path, num_lines: int, num_rounds: int, keep: Callable[[Rounds], None]) -> Rounds:
    """Raw text to numbers: all cores of this machine, by the clock; for `keep` see `claims.watched`."""
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
        are_enough=watched(keep),
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


class Page:
    """What was measured so far, and the files that it is written to."""

    def __init__(self, path: Path, num_lines: int, facts: Facts) -> None:
        self.planning: list[dict[str, Any]] = []
        self.vocabularies: list[VocabularyTimes] = []
        self.collation: dict[int, Rounds] = {}
        self.text: Rounds | None = None
        self._path, self._num_lines, self._facts = path, num_lines, facts

    def write(self, *, is_finished: bool = False) -> None:
        """Write all that there is."""
        write_results(self._path, "The data side", self.sections(), self._record(), is_finished=is_finished)

    def sections(self) -> list[str]:
        """The page's paragraphs."""
        facts = self._facts
        sections = [
            f"{facts['date']}, {machine_name(facts)}, {facts['cores']} cores, load {facts['load']}, "
            f"commit {facts['commit']}: `{facts['command']}`."
        ]
        if self.planning or self.collation:
            sections.append(verdicts(self.planning, self.collation))
        if self.text is not None:
            sections.append(claims_table(self.text, CLAIMS))
        if self.planning:
            sections.append(
                "## Planning and opening\n\nAn epoch of pairs in batches of 4,096 tokens, processor time of one "
                "process. Memory is the most that the process held beside the mapped files.\n\n"
                + planning_table(self.planning)
            )
        if self.vocabularies:
            sections.append("## Vocabularies\n\n" + vocabulary_table(self.vocabularies))
        for max_tokens, rounds in self.collation.items():
            sections.append(
                f"## Collation, batches of {max_tokens:,} tokens\n\nTokens of both sides that are no padding, one "
                "core, processor time.\n\n" + table(rounds, LOOP, unit="tokens")
            )
        if self.text is not None:
            sections.append(
                f"## Raw text to numbers\n\n{self._num_lines:,} lines, {NUM_MERGES} merges, the same bytes written; "
                "megabytes of text, by the clock, starts of the processes included.\n\n"
                + table(self.text, PUBLISHED, unit="MB")
                + "\n\n"
                + same_arm_report(self.text, OURS)
            )
        return sections

    def _record(self) -> Facts:
        told: Facts = {"facts": self._facts}
        if self.planning:
            told["planning"] = self.planning
        if self.vocabularies:
            told["vocabularies"] = record(self.vocabularies)
        if self.collation:
            told["collation"] = {
                str(max_tokens): rounds_record(rounds) for max_tokens, rounds in self.collation.items()
            }
        if self.text is not None:
            told |= {"text": rounds_record(self.text), "claims": claims_record(self.text, CLAIMS)}
        return told


def parse_options(words: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="all if none is named")
    parser.add_argument("--rounds", type=int, default=12, help="of collation")
    parser.add_argument("--text-rounds", type=int, default=60, help="at most, of text: see docs/benchmarks.md")
    parser.add_argument("--most", type=int, default=100_000_000, help="pairs of the largest corpus that is planned")
    parser.add_argument("--lines", type=int, default=300_000, help="of the text that is binarised")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the Markdown and JSON files")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Measure the parts, and write their page and JSON anew after each; some parts have files of their own."""
    options = parse_options(words)
    name = "-".join(["data", *([] if set(options.parts) == set(PARTS) else options.parts)])
    facts = machine()
    page = Page(dated_path(options.output, name, facts), options.lines, facts)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "planning" in options.parts:
            for row in measure_planning(folder, options.most):
                page.planning.append(row)
                page.write()
        if "vocabularies" in options.parts:
            page.vocabularies = measure_vocabularies(folder)
            page.write()
        if "collation" in options.parts:
            for max_tokens, rounds in measure_collation(folder, options.rounds):
                page.collation[max_tokens] = rounds
                page.write()
        if "text" in options.parts:

            def keep(rounds: Rounds) -> None:
                page.text = rounds
                page.write()

            page.text = measure_text(folder, options.lines, options.text_rounds, keep)
    page.write(is_finished=True)
    print("\n\n".join(page.sections()))


if __name__ == "__main__":
    main()
