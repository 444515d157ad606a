"""How fast commands that only show their config come up, against a Hydra application that does nothing.

    python -m benchmarks.start_speed
    python -m benchmarks.start_speed --clock cpu         # on a machine that does other work as well

Each run is a process from its start to its end. `--cfg job` may take twice the time of the bare application, a ratio of
speeds of 0.5; `--help`, which lists every plug-in, presets and user plug-ins included, four times, a ratio of 0.25.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.claims import AGAIN, Claim, claims_record, claims_table, same_arm_report, watched
from benchmarks.harness.contest import Block, Rounds, run_rounds
from benchmarks.harness.facts import CHECKOUT, Facts, machine, machine_name
from benchmarks.harness.report import RESULTS, dated_path, rounds_record, write_results

BARE, CONFIG, HELP = "bare --cfg job", "train --cfg job", "train --help"
CLAIMS = (
    Claim("the speed of `seqtrain.train --cfg job` to the bare application's", CONFIG, BARE, bar=0.5),
    Claim("the speed of `seqtrain.train --help` to the bare application's `--cfg job`", HELP, BARE, bar=0.25),
)


@dataclass
class CommandArm:
    """A command that is started anew each time.

    Attributes:
        name: In the tables.
        arguments: Of the interpreter.
    """

    name: str
    arguments: tuple[str, ...]

    def run(self, first: int, number: int) -> Block:
        """Run it so many times."""
        begin, used = time.perf_counter(), _children_seconds()
        for _ in range(number):
            subprocess.run([sys.executable, *self.arguments], cwd=CHECKOUT, stdout=subprocess.DEVNULL, check=True)
        return Block(time.perf_counter() - begin, _children_seconds() - used, number)


def _children_seconds() -> float:
    """Processor time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def times_table(rounds: Rounds) -> str:
    """A Markdown table of the milliseconds of a run."""
    lines = ["| command | median ms | best ms | times the bare application's median |", "|---|---|---|---|"]
    medians = {name: statistics.median(1000 / speed for speed in rounds.speeds(name)) for name in rounds.blocks}
    for name, median in medians.items():
        best = 1000 / max(rounds.speeds(name))
        lines.append(f"| {name} | {median:.0f} | {best:.0f} | {median / medians[BARE]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run all arms, print the tables, and write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=250, help="at most: see docs/benchmarks.md")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the Markdown and JSON files")
    arguments = parser.parse_args()
    facts = machine()
    bare = (str(Path(__file__).with_name("bare_application.py")), "--cfg", "job")
    arms = [
        CommandArm(BARE, bare),
        CommandArm(BARE + AGAIN, bare),
        CommandArm(CONFIG, ("-m", "seqtrain.train", "--cfg", "job")),
        CommandArm(HELP, ("-m", "seqtrain.train", "--help")),
    ]
    path = dated_path(arguments.output, "start", facts)

    def write(rounds: Rounds, *, is_finished: bool = False) -> None:
        sections = [
            f"{facts['date']}, {machine_name(facts)}, {facts['cores']} cores, {arguments.clock} clock, "
            f"commit {facts['commit']}: `{facts['command']}`. Ratios of speeds: 0.5 is twice the time.",
            claims_table(rounds, CLAIMS),
            times_table(rounds),
            same_arm_report(rounds, BARE),
        ]
        record: Facts = {"facts": facts, "claims": claims_record(rounds, CLAIMS), "rounds": rounds_record(rounds)}
        write_results(path, "How fast commands come up", sections, record, is_finished=is_finished)
        if is_finished:
            print("\n\n".join(sections))

    rounds = run_rounds(
        arms,
        num_rounds=arguments.rounds,
        num_pieces=1,
        num_warmup=2,
        clock=arguments.clock,
        are_enough=watched(write),
    )
    write(rounds, is_finished=True)


if __name__ == "__main__":
    main()
