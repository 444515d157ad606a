"""How fast seqtrain decodes, against its peers: the same trained weights, the same sentences, the same search.

    python -m benchmarks.generate_speed                         # all of it, on one thread
    python -m benchmarks.generate_speed --threads 2 --checkpoint outputs/RUN/checkpoints/best

Every contestant decodes Multi30k's test set of 2016 with beam 5, in a process of its own that has loaded its model. Our
weights are brought into the peers' formats, and before any speed is told the texts are compared: in float32 the same
hypotheses and the same BLEU, in each system's best precision a BLEU within 0.1 of its float32.

CTranslate2 ranks hypotheses as we do, by log-probability over length. JoeyNMT has another penalty (Wu et al., 2016):
against it nobody divides by anything. Each system gets the size of batches in which it is fastest, found in a round
before. JoeyNMT keeps no keys and values and takes ten times as long: against it there are fewer sentences, sizes and
rounds. A round gives one ratio of output tokens a second, the end symbols included. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.decoding.contestants import CTRANSLATE2, JOEYNMT, OURS, REORDERING, Contestant, running
from benchmarks.decoding.exchange import Job, read_hypotheses
from benchmarks.decoding.trained import DATA, find_checkpoint, measure_bleu, write_job
from benchmarks.harness.claims import AGAIN, Claim, claims_record, claims_table, same_arm_report
from benchmarks.harness.contest import Rounds, run_rounds
from benchmarks.harness.facts import Facts, machine
from benchmarks.harness.probe import Probe
from benchmarks.harness.report import RESULTS, rounds_record, table, write_results
from seqtrain.tasks.base import Task

MAX_BLEU_CHANGE = 0.1
MIN_SAME = 0.99
SLOW_BATCHES = [1024, 2048]  # that are tried where a peer takes ten times as long ...
SLOW_ROUNDS = 3  # ... how many times fewer rounds there are: its ratio is far from the bar ...
SLOW_SENTENCES = 500  # ... and how many sentences, of all lengths


@dataclass(frozen=True)
class Texts:
    """What a contestant wrote.

    Attributes:
        bleu: In per cent.
        num_same: Hypotheses that are the reference contestant's.
    """

    bleu: float
    num_same: int


class Contest:
    """Some contestants, and one way to rank hypotheses."""

    def __init__(self, name: str, checkpoint: Path, length_penalty: float, options: argparse.Namespace) -> None:
        self.options = options
        self.folder = DATA / name
        self.task: Task
        self.job: Job
        self.task, self.job, self.references = write_job(
            self.folder,
            checkpoint,
            num_sentences=options.sentences,
            length_penalty=length_penalty,
            beam_size=options.beam,
            max_length=options.max_length,
        )
        self.facts: dict[str, Facts] = {}
        self._probe = Probe(options.threads, clock=options.clock)

    def scout(self, contestant: Contestant) -> Contestant:
        """The same contestant, with batches in which it is fast."""
        entries = {str(batch): contestant.with_batch(batch) for batch in self.options.batches}
        rounds = self._run(list(entries.items()), self.options.scouting_rounds)
        return entries[rounds.fastest(list(entries))]

    def final(self, contestants: Sequence[Contestant], again: Contestant) -> Rounds:
        """The rounds that count, one contestant twice."""
        entries = [*((one.name, one) for one in contestants), (again.name + AGAIN, again)]
        return self._run(entries, self.options.rounds)

    def texts(self, names: Sequence[str], reference: str) -> dict[str, Texts]:
        """What the contestants wrote, beside what one of them wrote."""
        expected = read_hypotheses(self.folder, reference)
        found = {}
        for name in names:
            written = read_hypotheses(self.folder, name)
            same = sum(one == other for one, other in zip(written, expected, strict=True))
            found[name] = Texts(measure_bleu(self.task, written, self.references), same)
        return found

    def _run(self, entries: Sequence[tuple[str, Contestant]], num_rounds: int) -> Rounds:
        with running(self.folder, self.options.threads, entries) as arms:
            rounds = run_rounds(
                arms, num_rounds=num_rounds, num_pieces=1, num_warmup=1, probe=self._probe, clock=self.options.clock
            )
            self.facts.update({arm.name: dict(arm.facts) for arm in arms})
        return rounds


def against_ctranslate2(checkpoint: Path, options: argparse.Namespace) -> tuple[list[str], Facts]:
    """Log-probability over length; ours in all precisions, with and without the ancestry mask."""
    contest = Contest("over-length", checkpoint, 1.0, options)
    contestants = [contest.scout(one) for one in (*OURS, *CTRANSLATE2)]
    ours, theirs = contestants[: len(OURS)], contestants[len(OURS) :]
    rounds = contest.final([*contestants, REORDERING.with_batch(ours[0].batch)], again=ours[0])
    texts = contest.texts(list(rounds.blocks), reference=ours[0].name)
    best = rounds.fastest([one.name for one in ours if keeps_bleu(texts[one.name], texts[ours[0].name])])
    claims = [
        Claim(f"{ours[0].name} / the same, reordering", ours[0].name, REORDERING.name),
        Claim(f"{ours[0].name} / {theirs[0].name}", ours[0].name, theirs[0].name),
        Claim(f"{best} / {theirs[0].name}", best, theirs[0].name, 1.3),
        Claim(f"{best} / {theirs[1].name}", best, theirs[1].name, 1.0),
    ]
    title = "Score: log-probability over length"
    return sections_of(contest, title, rounds, claims, contestants), record_of(contest, rounds, claims, texts)


def against_joeynmt(checkpoint: Path, options: argparse.Namespace) -> tuple[list[str], Facts]:
    """Log-probability alone."""
    fewer = {
        "rounds": max(3, options.rounds // SLOW_ROUNDS),
        "batches": SLOW_BATCHES,
        "sentences": min(options.sentences, SLOW_SENTENCES),
    }
    contest = Contest("no-penalty", checkpoint, 0.0, argparse.Namespace(**{**vars(options), **fewer}))
    contestants = [contest.scout(one) for one in (OURS[0], OURS[-1], *JOEYNMT)]
    rounds = contest.final(contestants, again=contestants[0])
    texts = contest.texts(list(rounds.blocks), reference=OURS[0].name)
    peer = rounds.fastest([one.name for one in JOEYNMT if keeps_bleu(texts[one.name], texts[JOEYNMT[0].name])])
    best = rounds.fastest([one.name for one in (OURS[0], OURS[-1]) if keeps_bleu(texts[one.name], texts[OURS[0].name])])
    claims = [
        Claim(f"{OURS[0].name} / {JOEYNMT[0].name}", OURS[0].name, JOEYNMT[0].name),
        Claim(f"{best} / {peer}", best, peer, 3.0),
    ]
    title = "Score: log-probability"
    return sections_of(contest, title, rounds, claims, contestants), record_of(contest, rounds, claims, texts)


def keeps_bleu(texts: Texts, whole: Texts) -> bool:
    """Whether a precision is allowed: its BLEU is within 0.1 of float32's."""
    return abs(texts.bleu - whole.bleu) <= MAX_BLEU_CHANGE


def sections_of(
    contest: Contest, title: str, rounds: Rounds, claims: Sequence[Claim], contestants: Sequence[Contestant]
) -> list[str]:
    """The Markdown of one contest."""
    reference = contestants[0].name
    texts = contest.texts(list(rounds.blocks), reference)
    return [
        f"## {title}",
        texts_table(contest, rounds, texts, contestants),
        claims_table(rounds, claims),
        same_arm_report(rounds, reference),
        table(rounds, reference, unit="output tokens"),
    ]


def texts_table(contest: Contest, rounds: Rounds, texts: dict[str, Texts], contestants: Sequence[Contestant]) -> str:
    """BLEU, hypotheses in common, sentences a second, and the batches of each contestant."""
    batches = {one.name: one.batch for one in contestants}
    num_sentences = len(contest.references)
    lines = [
        f"| contestant | BLEU | hypotheses of {contestants[0].name} | sentences/s | tokens of a batch | version |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in texts.items():
        speeds = sorted(
            speed / block.work for speed, block in zip(rounds.speeds(name), rounds.blocks[name], strict=True)
        )
        per_second = num_sentences * speeds[len(speeds) // 2]
        lines.append(
            f"| {name} | {found.bleu:.2f} | {found.num_same} of {num_sentences} | {per_second:,.0f} "
            f"| {batches.get(name, batches[contestants[0].name])} | {contest.facts[name]['version']} |"
        )
    return "\n".join(lines)


def record_of(contest: Contest, rounds: Rounds, claims: Sequence[Claim], texts: dict[str, Texts]) -> Facts:
    """The figures of one contest for the JSON."""
    return {
        "num_sentences": len(contest.references),
        "texts": {name: vars(found) for name, found in texts.items()},
        "arms": contest.facts,
        "claims": claims_record(rounds, claims),
        "rounds": rounds_record(rounds),
    }


def require_same_texts(record: Facts, names: Sequence[str]) -> list[str]:
    """What is wrong with the texts of contestants that compute the same in float32, a line each."""
    texts, num_sentences = record["texts"], record["num_sentences"]
    assert isinstance(texts, dict)
    assert isinstance(num_sentences, int)
    bleu = texts[names[0]]["bleu"]
    problems = []
    for name in names:
        if abs(texts[name]["bleu"] - bleu) > MAX_BLEU_CHANGE:
            problems.append(f"{name} has BLEU {texts[name]['bleu']:.2f} and not {bleu:.2f}: its speed says nothing.")
        if texts[name]["num_same"] < MIN_SAME * num_sentences:
            problems.append(f"Of {name} {texts[name]['num_same']} of {num_sentences} hypotheses are the same.")
    return problems


def parse_options(words: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint folder; by default one is trained, once")
    parser.add_argument("--epochs", type=int, default=10, help="of that training")
    parser.add_argument("--peers", nargs="+", choices=["ctranslate2", "joeynmt"], default=["ctranslate2", "joeynmt"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=60, help="tokens of a hypothesis before the end symbol")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 2048, 4096, 8192], help="sizes that are tried")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--scouting-rounds", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: of all threads together")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the Markdown and JSON files")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Run the contests, and write a result for each peer."""
    options = parse_options(words)
    if options.checkpoint is None:
        checkpoint, origin = find_checkpoint(options.epochs)
    else:  # of a path of this machine, what says which run it is
        checkpoint, origin = options.checkpoint, "/".join(options.checkpoint.parts[-3:])
    contests = {"ctranslate2": (against_ctranslate2, CTRANSLATE2[0]), "joeynmt": (against_joeynmt, JOEYNMT[0])}
    for peer in options.peers:
        facts, start = machine(), time.time()
        run, whole = contests[peer]
        sections, record = run(checkpoint, options)
        same = [OURS[0].name, whole.name, *([REORDERING.name] if peer == "ctranslate2" else [])]
        told = ("date", "commit", "cpu", "cores", "load", "torch", "python", "environment")
        head = [
            f"```\n{facts['command']}\n```",
            ", ".join(f"{name} {facts[name]}" for name in told),
            f"Weights: {origin}. Beam {options.beam}, threads: {options.threads}, clock: {options.clock}; "
            f"{(time.time() - start) / 60:.0f} minutes.",
        ]
        sections += require_same_texts(record, same)
        path = options.output / f"generate-{peer}-threads-{options.threads}-{time.strftime('%Y-%m-%d')}.md"
        write_results(path, f"Decoding speed against {peer}", [*head, *sections], {**facts, "model": origin, **record})
        print("\n\n".join(sections), flush=True)


if __name__ == "__main__":
    main()
