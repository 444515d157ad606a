"""How fast seqtrain decodes, against its peers: the same trained weights, the same sentences, the same search.

    python -m benchmarks.generate_speed                         # all of it, on one thread
    python -m benchmarks.generate_speed --threads 2 --checkpoint outputs/RUN/checkpoints/best

Every contestant decodes Multi30k's test set of 2016 with beam 5, in a process of its own that has loaded its model. Our
weights are brought into the peers' formats, and before any speed is told the texts of the whole set are compared: in
float32 the same hypotheses and the same BLEU, in each system's best precision a BLEU within 0.1 of its float32.

First each contestant gets the size of batches in which it is fastest, and writes its texts. Then the fastest forms of
seqtrain and its peer take turns, and a round gives one ratio of output tokens a second, the end symbols included.

CTranslate2 ranks hypotheses as we do, by log-probability over length. JoeyNMT has another penalty (Wu et al., 2016):
against it nobody divides by anything. It keeps no keys and values and takes ten times as long: against it there are
fewer sentences, in pieces: every eighth in a block. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.decoding.contestants import CTRANSLATE2, JOEYNMT, OURS, REORDERING, Contestant, running
from benchmarks.decoding.exchange import Job, read_hypotheses
from benchmarks.decoding.trained import DATA, find_checkpoint, measure_bleu, write_job
from benchmarks.harness.claims import AGAIN, Claim, claims_record, claims_table, same_arm_report, watched
from benchmarks.harness.contest import Block, Rounds, run_rounds
from benchmarks.harness.facts import Facts, machine
from benchmarks.harness.probe import Probe
from benchmarks.harness.report import RESULTS, dated_path, rounds_record, table, write_results
from seqtrain.tasks.base import Task

MAX_BLEU_CHANGE = 0.1
MIN_SAME = 0.99
SLOW_SENTENCES = 500  # how many there are, of all lengths, where a peer takes ten times as long ...
SLOW_PIECES = 8  # ... and in how many pieces


@dataclass(frozen=True)
class Texts:
    """What a contestant wrote.

    Attributes:
        bleu: In per cent.
        num_same: Hypotheses that are the reference contestant's.
    """

    bleu: float
    num_same: int


class Write(Protocol):
    """Writes a page's sections and their record, as they are so far unless `is_finished`."""

    def __call__(self, sections: Sequence[str], record: Facts, *, is_finished: bool) -> None:
        """Write them anew."""


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
        self.scouted: dict[str, Block] = {}
        self._written: dict[str, list[list[str]]] = {}
        self._probe = Probe(options.threads, clock=options.clock)

    def scout(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """The same contestants, each with batches in which it is fast; with these they decode the whole set."""
        return [self._scout(contestant) for contestant in contestants]

    def _scout(self, contestant: Contestant) -> Contestant:
        options = self.options
        entries = {f"{contestant.name}, {batch}": contestant.with_batch(batch) for batch in contestant.batches}
        rounds = self._run(list(entries.items()), options.scouting_rounds)
        chosen = entries[rounds.fastest(list(entries))]
        with running(self.folder, options.threads, options.pieces, [(chosen.name, chosen)]) as (arm,):
            arm.run(0, 1)
            self.scouted[chosen.name] = arm.run(0, options.pieces)
            self.facts[chosen.name] = dict(arm.facts)
        self._written[chosen.name] = read_hypotheses(self.folder, chosen.name)
        return chosen

    def fastest(self, contestants: Sequence[Contestant], whole: Contestant, number: int) -> list[Contestant]:
        """So many of those whose BLEU is that of `whole`, fastest first, as they were when scouted."""
        texts = self.texts([one.name for one in contestants], reference=whole.name)
        allowed = [one for one in contestants if keeps_bleu(texts[one.name], texts[whole.name])]
        return sorted(allowed, key=lambda one: -self.scouted[one.name].speed(self.options.clock))[:number]

    def final(self, contestants: Sequence[Contestant], keep: Callable[[Rounds], None]) -> Rounds:
        """The rounds that count; the first contestant takes part twice. For `keep` see `claims.watched`."""
        first = contestants[0]
        entries = [(first.name, first), (first.name + AGAIN, first), *((one.name, one) for one in contestants[1:])]
        return self._run(entries, self.options.rounds, keep)

    def side(self, contestants: Sequence[Contestant]) -> Rounds:
        """Rounds of which ratios are told that are held to nothing."""
        return self._run([(one.name, one) for one in contestants], self.options.side_rounds)

    def texts(self, names: Sequence[str], reference: str) -> dict[str, Texts]:
        """What the contestants wrote, beside what one of them wrote."""
        found = {}
        for name in names:
            written = self._written[name]
            same = sum(one == other for one, other in zip(written, self._written[reference], strict=True))
            found[name] = Texts(measure_bleu(self.task, written, self.references), same)
        return found

    def _run(
        self,
        entries: Sequence[tuple[str, Contestant]],
        num_rounds: int,
        keep: Callable[[Rounds], None] | None = None,
    ) -> Rounds:
        """So many rounds, or fewer where they are kept: those are a final's."""
        options = self.options
        with running(self.folder, options.threads, options.pieces, entries) as arms:
            return run_rounds(
                arms,
                num_rounds=num_rounds,
                num_pieces=1,
                num_warmup=1,
                probe=self._probe,
                clock=options.clock,
                are_enough=None if keep is None else watched(keep),
            )


def against_ctranslate2(checkpoint: Path, options: argparse.Namespace, write: Write) -> None:
    """Log-probability over length; ours in all precisions, with and without the ancestry mask."""
    contest = Contest("over-length", checkpoint, 1.0, options)
    ours, theirs = contest.scout(chosen_forms(options.ours)), contest.scout(CTRANSLATE2)
    (reordering,) = contest.scout([REORDERING])
    side = contest.side([ours[0], reordering, theirs[0]])
    best = contest.fastest(ours, ours[0], options.finalists)
    side_claims = [
        Claim(f"{ours[0].name} / the same, reordering", ours[0].name, reordering.name),
        Claim(f"{ours[0].name} / {theirs[0].name}", ours[0].name, theirs[0].name),
    ]

    def claims_of(rounds: Rounds) -> list[Claim]:
        fastest = rounds.fastest([one.name for one in best])
        bars = zip(theirs, (1.3, 1.0), strict=True)
        return [Claim(f"{fastest} / {peer.name}", fastest, peer.name, bar) for peer, bar in bars]

    page = Page(contest, "Score: log-probability over length", [*ours, reordering, *theirs], claims_of)
    page.run([*best, *theirs], write, side=(side, side_claims))


def against_joeynmt(checkpoint: Path, options: argparse.Namespace, write: Write) -> None:
    """Log-probability alone."""
    fewer = {"sentences": min(options.sentences, SLOW_SENTENCES), "pieces": SLOW_PIECES}
    contest = Contest("no-penalty", checkpoint, 0.0, argparse.Namespace(**{**vars(options), **fewer}))
    ours, theirs = contest.scout([OURS[0], OURS[-1]]), contest.scout(JOEYNMT)
    (best,) = contest.fastest(ours, ours[0], 1)
    (peer,) = contest.fastest(theirs, theirs[0], 1)
    claims = [Claim(f"{best.name} / {peer.name}", best.name, peer.name, 3.0)]
    Page(contest, "Score: log-probability", [*ours, *theirs], lambda _: claims).run([best, peer], write)


def chosen_forms(names: Sequence[str]) -> list[Contestant]:
    """The forms of seqtrain that are named, all if none is; that in float32, which texts are compared with, always."""
    return [OURS[0], *(form for form in OURS[1:] if not names or form.name in names)]


def keeps_bleu(texts: Texts, whole: Texts) -> bool:
    """Whether a precision is allowed: its BLEU is within 0.1 of float32's."""
    return abs(texts.bleu - whole.bleu) <= MAX_BLEU_CHANGE


class Page:
    """What is told of one contest, once its contestants have been scouted."""

    def __init__(
        self,
        contest: Contest,
        title: str,
        contestants: Sequence[Contestant],
        claims_of: Callable[[Rounds], Sequence[Claim]],
    ) -> None:
        self._contest, self._title, self._contestants, self._claims_of = contest, title, contestants, claims_of
        self._texts = contest.texts([one.name for one in contestants], reference=contestants[0].name)

    def run(
        self, finalists: Sequence[Contestant], write: Write, side: tuple[Rounds, Sequence[Claim]] | None = None
    ) -> None:
        """Run the final, and write the page whenever there are rounds to keep.

        Args:
            finalists: Who takes part; the first does twice.
            write: Where to.
            side: Rounds that are told beside the final's.
        """

        def found(rounds: Rounds) -> list[tuple[Rounds, Sequence[Claim]]]:
            return [(rounds, self._claims_of(rounds)), *([] if side is None else [side])]

        def keep(rounds: Rounds) -> None:
            write(*self._report(found(rounds)), is_finished=False)

        write(*self._report(found(self._contest.final(finalists, keep))), is_finished=True)

    def _report(self, found: Sequence[tuple[Rounds, Sequence[Claim]]]) -> tuple[list[str], Facts]:
        """The Markdown and the record; of the rounds, the first are those that count."""
        contest, rounds = self._contest, found[0][0]
        sections = [
            f"## {self._title}",
            texts_table(contest, self._texts, self._contestants),
            *(claims_table(*one) for one in found),
            same_arm_report(rounds, next(iter(rounds.blocks))),
            *(table(one, next(iter(one.blocks)), unit="output tokens") for one, _ in found),
        ]
        record: Facts = {
            "num_sentences": len(contest.references),
            "texts": {name: vars(one) for name, one in self._texts.items()},
            "arms": contest.facts,
            "claims": [claim for one in found for claim in claims_record(*one)],
            "rounds": [rounds_record(one) for one, _ in found],
            "scouting": {name: asdict(block) for name, block in contest.scouted.items()},
        }
        return sections, record


def texts_table(contest: Contest, texts: dict[str, Texts], contestants: Sequence[Contestant]) -> str:
    """BLEU, hypotheses in common, sentences a second when scouted, and the batches of each contestant."""
    num_sentences = len(contest.references)
    lines = [
        f"| contestant | BLEU | hypotheses of {contestants[0].name} | sentences/s, scouted | tokens of a batch "
        "| version |",
        "|---|---|---|---|---|---|",
    ]
    for one in contestants:
        found, block = texts[one.name], contest.scouted[one.name]
        per_second = num_sentences * block.speed(contest.options.clock) / block.work
        lines.append(
            f"| {one.name} | {found.bleu:.2f} | {found.num_same} of {num_sentences} | {per_second:,.1f} "
            f"| {one.batch} | {contest.facts[one.name]['version']} |"
        )
    return "\n".join(lines)


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
    parser.add_argument(
        "--ours", nargs="+", default=[], choices=[form.name for form in OURS], help="all if none is named"
    )
    parser.add_argument("--finalists", type=int, default=2, help="forms of seqtrain that go on to the final")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=60, help="tokens of a hypothesis before the end symbol")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--pieces", type=int, default=1, help="of the test set; a block is one of them")
    parser.add_argument("--rounds", type=int, default=100, help="at most, of the final: see docs/benchmarks.md")
    parser.add_argument("--scouting-rounds", type=int, default=1)
    parser.add_argument("--side-rounds", type=int, default=12, help="of ratios that are only told")
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
        run, whole = contests[peer]
        same = [OURS[0].name, whole.name, *([REORDERING.name] if peer == "ctranslate2" else [])]
        run(checkpoint, options, writer(peer, origin, same, options))


def writer(peer: str, origin: str, same: Sequence[str], options: argparse.Namespace) -> Write:
    """What writes the results of one peer.

    Args:
        peer: Its name in the files' names.
        origin: Of the weights.
        same: The contestants that must write the same texts.
        options: Of the command line.
    """
    facts, start = machine(), time.time()
    path = dated_path(options.output, f"generate-{peer}-threads-{options.threads}", facts)
    told = ("date", "commit", "cpu", "cores", "load", "torch", "python", "environment")

    def write(sections: Sequence[str], record: Facts, *, is_finished: bool) -> None:
        head = [
            f"```\n{facts['command']}\n```",
            ", ".join(f"{name} {facts[name]}" for name in told),
            f"Weights: {origin}. Beam {options.beam}, threads: {options.threads}, clock: {options.clock}; "
            f"{(time.time() - start) / 60:.0f} minutes.",
        ]
        whole = [*head, *sections, *require_same_texts(record, same)]
        title = f"Decoding speed against {peer}"
        write_results(path, title, whole, {**facts, "model": origin, **record}, is_finished=is_finished)
        if is_finished:
            print("\n\n".join(whole), flush=True)

    return write


if __name__ == "__main__":
    main()
