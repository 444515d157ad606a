"""How fast seqtrain trains the smallest recipe, against a plain torch.nn.Transformer loop: one paired run.

    python -m benchmarks.train_speed --rounds 20 --updates 4 --threads 2

Each arm is a process of its own. In every round all arms make the same updates, one after the other, in an order that
turns round from round to round (ABBA), so that what else the machine does falls on all of them. A round gives one ratio
of target tokens a second; the result is the median of the ratios, with a bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.batches import multi30k
from benchmarks.harness.contest import run_rounds
from benchmarks.harness.facts import machine
from benchmarks.harness.process import ArmProcess
from benchmarks.harness.report import table

NUM_BATCHES = 120  # those of one epoch, about


def main() -> None:
    """Run all arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--updates", type=int, default=4, help="updates of each arm in a round")
    parser.add_argument(
        "--warmup", type=int, default=40, help="updates of each arm that are not counted; kernels are made in them"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: processor time, for one thread on a busy machine"
    )
    parser.add_argument("--arms", nargs="+", default=["plain", "seqtrain_fp32", "seqtrain_bf16"])
    arguments = parser.parse_args()
    words = [sys.executable, "-m", "benchmarks.arms"]
    arms = [ArmProcess(name, [*words, name, str(arguments.threads), str(NUM_BATCHES)]) for name in arguments.arms]
    rounds = run_rounds(
        arms,
        num_rounds=arguments.rounds,
        num_pieces=arguments.updates,
        num_warmup=arguments.warmup,
        clock=arguments.clock,
    )
    for arm in arms:
        arm.close()
    print(json.dumps({**machine(), "data": multi30k()[1], **vars(arguments)}))
    print(table(rounds, arguments.arms[0], unit="target tokens"))


if __name__ == "__main__":
    main()
