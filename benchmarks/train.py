"""How fast seqtrain trains, against its fastest peers: paired runs of processes that make the same updates.

    python -m benchmarks.train                                      # 2 cores, Transformers of width 128 and 256
    python -m benchmarks.train --shapes lm-128 lm-256               # decoder-only models
    python -m benchmarks.train --device cuda --precisions bf16 --shapes base big gpt2

All contestants have the same number of parameters (checked), read the same batches of token numbers, and make whole
updates: forward, loss, backward, clipping, optimizer. First all run a few rounds, and of each precision the two fastest
peers and forms of seqtrain are chosen, for a few rounds may err. Then these take turns, in an order that turns from
round to round (ABBA), with a probe of the machine's speed around every block; one form of seqtrain runs twice, so that
one sees what the same program against itself gives. A round gives one ratio of target tokens a second. See
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.claims import AGAIN, Claim, claims_record, claims_table, same_arm_report, watched
from benchmarks.harness.contest import Rounds, run_rounds
from benchmarks.harness.facts import Facts, machine
from benchmarks.harness.probe import Probe
from benchmarks.harness.report import RESULTS, dated_path, rounds_record, table, write_results
from benchmarks.training.contestants import Contestant, ours_of, peers_of, running
from benchmarks.training.settings import SHAPES, Precision, Settings
from benchmarks.training.work import make_batches

BARS = {
    ("tiny-128", "bf16"): 3.0,
    ("tiny-128", "fp32"): 2.2,
    ("tiny-256", "bf16"): 2.5,
    ("tiny-256", "fp32"): 1.2,
    ("base", "bf16"): 2.0,
    ("big", "bf16"): 2.0,
}
GPU_PEAK_FLOPS = 990e12  # H100 and H200, bf16 without sparsity, as NVIDIA states it

Entry = tuple[str, Contestant, Settings]
Chosen = dict[Precision, tuple[list[str], list[str]]]

NUM_FINALISTS = 2  # peers of a precision that go on to the final, and forms of seqtrain


class Contest:
    """One shape's scouting and final."""

    def __init__(self, shape: str, options: argparse.Namespace) -> None:
        self.options = options
        self.batches, self.origin = make_batches(
            SHAPES[shape], num_batches=options.batches, max_tokens=options.max_tokens, seed=options.seed
        )
        self.settings = Settings(
            "", SHAPES[shape], "fp32", str(self.batches), options.threads, options.device, seed=options.seed
        )
        self.ours, self.peers = ours_of(self.settings), peers_of(self.settings, options.peers)
        self.arms: dict[str, Facts] = {}
        self._start = time.time()
        self._probe = Probe(options.threads, options.device, options.clock)

    def entries(self, peers: list[Contestant], precision: Precision) -> list[Entry]:
        """These contestants in one precision."""
        settings = Settings(**{**vars(self.settings), "precision": precision})
        return [(f"{peer.name} {precision}", peer, settings) for peer in peers]

    def scout(self, precision: Precision) -> Rounds:
        """A few rounds of all peers in one precision, and of the forms of seqtrain if there is a choice."""
        ours = self.ours if len(self.ours) > 1 else []
        entries = self.entries([*ours, *self.peers], precision)
        # A GPU has no memory for all at once, and nobody else to share it with: there each runs by itself.
        groups = [[entry] for entry in entries] if self.options.device == "cuda" else [entries]
        blocks = [self._run(group).blocks for group in groups]
        return Rounds({name: own for group in blocks for name, own in group.items()}, self.options.clock)

    def final(self, chosen: Chosen, keep: Callable[[Rounds], object]) -> Rounds:
        """The rounds that count: what is chosen of each precision, and seqtrain once more in the last.

        Args:
            chosen: By `choose`, for each precision.
            keep: See `claims.watched`.
        """
        by_name = {peer.name: peer for peer in (*self.ours, *self.peers)}
        entries: list[Entry] = []
        for precision, (our_names, peer_names) in chosen.items():
            mine, others = (
                self.entries([by_name[name] for name in names], precision) for names in (our_names, peer_names)
            )
            is_last = precision == list(chosen)[-1]
            again = [(mine[0][0] + AGAIN, *mine[0][1:])] if is_last else []
            entries += [*mine[1:], mine[0], *again, *others]  # what is compared runs close to one another
        return self._run(entries, keep)

    def choose(self, precision: Precision, rounds: Rounds) -> tuple[list[str], list[str]]:
        """The names of seqtrain's fastest forms and of the fastest peers, fastest first."""
        ours, peers = (
            _fastest_first(rounds, [entry.name for entry in entries], precision) for entries in (self.ours, self.peers)
        )
        return ours[:NUM_FINALISTS], peers[:NUM_FINALISTS]

    def report(self, chosen: Chosen, scouting: dict[Precision, Rounds], rounds: Rounds) -> tuple[list[str], Facts]:
        """The sections of the page, and the record, of scouting and as many rounds of the final as there are."""
        options = self.options
        claims = make_claims(self.settings.shape.name, rounds, chosen)
        label = next(name for name in rounds.blocks if name + AGAIN in rounds.blocks)
        same = same_arm_report(rounds, label)
        baseline = rounds.fastest([claim.baseline for claim in claims])
        sections = [
            f"## {self.settings.shape.name}",
            f"{self.origin}; {self.settings.shape.num_parameters:,} parameters; "
            f"{options.max_tokens:,} tokens a batch, {options.updates} updates a block; "
            f"{(time.time() - self._start) / 60:.0f} minutes.",
            claims_table(rounds, claims),
            same,
            table(rounds, baseline, unit="target tokens"),
            arms_table(self.arms, [*scouting.values(), rounds]),
            *(f"Scouting, {precision}:\n\n{_scouting_table(found)}" for precision, found in scouting.items()),
        ]
        record: Facts = {
            "shape": vars(self.settings.shape),
            "batches": self.origin,
            "options": {name: str(value) for name, value in vars(options).items() if name != "output"},
            "arms": self.arms,
            "claims": claims_record(rounds, claims),
            "same_arm": same,
            "rounds": rounds_record(rounds),
            "scouting": {precision: rounds_record(found) for precision, found in scouting.items()},
        }
        return sections, record

    def _run(self, entries: list[Entry], keep: Callable[[Rounds], object] | None = None) -> Rounds:
        """Rounds of these; they are a final's where they are kept."""
        options = self.options
        with running(entries) as arms:
            self.arms.update({arm.name: arm.facts for arm in arms})  # they grow with every block
            return run_rounds(
                arms,
                num_rounds=options.scouting_rounds if keep is None else options.rounds,
                num_pieces=options.updates,
                num_warmup=options.scouting_warmup if keep is None else options.warmup,
                probe=self._probe,
                clock=options.clock,
                are_enough=None if keep is None else watched(keep),
            )


def run_contest(shape: str, options: argparse.Namespace) -> list[str]:
    """Write one shape's result, anew as its rounds come; the sections of it."""
    facts, contest = machine(), Contest(shape, options)
    path = dated_path(options.output, f"train-{options.device}-{shape}", facts)
    head = [f"```\n{facts['command']}\n```", _described(facts)]
    scouting = {precision: contest.scout(precision) for precision in options.precisions}
    chosen = {precision: contest.choose(precision, rounds) for precision, rounds in scouting.items()}

    def write(rounds: Rounds, *, is_finished: bool = False) -> list[str]:
        sections, record = contest.report(chosen, scouting, rounds)
        title = f"Training speed: {shape}"
        write_results(path, title, [*head, *sections], {**facts, **record}, is_finished=is_finished)
        return sections

    return write(contest.final(chosen, keep=write), is_finished=True)


def _fastest_first(rounds: Rounds, names: list[str], precision: Precision) -> list[str]:
    """The names in the order of what ran under them in this precision; one alone need not have run."""
    if len(names) == 1:
        return names
    speeds = {name: statistics.median(rounds.speeds(f"{name} {precision}")) for name in names}
    return sorted(names, key=lambda name: -speeds[name])


def make_claims(shape: str, rounds: Rounds, chosen: Chosen) -> list[Claim]:
    """Seqtrain's fastest form in each precision against that precision's fastest peer, and its best against all."""
    claims = []
    for precision, sides in chosen.items():
        ours, peer = (rounds.fastest([f"{name} {precision}" for name in names]) for names in sides)
        claims.append(_claim(shape, ours, peer, precision))
    best, peer = (rounds.fastest(names) for names in ([c.ours for c in claims], [c.baseline for c in claims]))
    if (best, peer) not in {(claim.ours, claim.baseline) for claim in claims}:
        claims.append(_claim(shape, best, peer, best.split()[-1]))
    return claims


def _claim(shape: str, ours: str, peer: str, precision: str) -> Claim:
    return Claim(f"{ours} / {peer}", ours, peer, BARS.get((shape, precision), 1.0))


def arms_table(arms: dict[str, Facts], runs: Sequence[Rounds]) -> str:
    """Speed in FLOP/s, memory and size of every contestant that ran; the final's speed, where it took part."""
    lines = [
        "| contestant | parameters | target tokens/s | GFLOP/s | of 990 TFLOP/s | peak memory, MiB | versions |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, facts in arms.items():
        rounds = next(rounds for rounds in reversed(runs) if name in rounds.blocks)
        speed = statistics.median(rounds.speeds(name))
        flops = speed * _number(facts["flops_per_token"])
        versions = facts["versions"]
        assert isinstance(versions, dict)
        is_on_gpu = any(block.device_seconds for block in rounds.blocks[name])
        share = f"{flops / GPU_PEAK_FLOPS:.1%}" if is_on_gpu else ""
        memory = _number(facts["peak_bytes"]) / 2**20
        named = ", ".join(f"{package} {version}" for package, version in versions.items())
        lines.append(
            f"| {name} | {_number(facts['parameters']):,.0f} | {speed:,.0f} | {flops / 1e9:,.0f} | {share} "
            f"| {memory:,.0f} | {named} |"
        )
    return "\n".join(lines)


def _number(value: Any) -> float:
    return float(value)


def _scouting_table(rounds: Rounds) -> str:
    return table(rounds, rounds.fastest(list(rounds.blocks)), unit="target tokens")


def parse_options(words: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["tiny-128", "tiny-256"])
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--peers", nargs="+", default=[], help="names of peers; all if none is named")
    parser.add_argument("--rounds", type=int, default=250, help="at most, of the final: see docs/benchmarks.md")
    parser.add_argument("--updates", type=int, default=1, help="of each arm in a round: a block")
    parser.add_argument("--warmup", type=int, default=12, help="updates that are not counted: kernels are made in them")
    parser.add_argument("--scouting-rounds", type=int, default=5)
    parser.add_argument("--scouting-warmup", type=int, default=3)
    parser.add_argument("--batches", type=int, default=12, help="different batches, which all arms go through in turn")
    parser.add_argument("--max-tokens", type=int, default=4096, help="of a side of a batch, padding included")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: of all threads together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the Markdown and JSON files")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Run the contests, and write one result for each shape."""
    options = parse_options(words)
    for shape in options.shapes:
        print("\n\n".join(run_contest(shape, options)), flush=True)


def _described(facts: Facts) -> str:
    told = ("date", "commit", "cpu", "cores", "capability", "amx", "gpu", "load", "torch", "python", "environment")
    return ", ".join(f"{name} {facts[name]}" for name in told if name in facts)


if __name__ == "__main__":
    main()
