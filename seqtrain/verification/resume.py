"""`verify resume`: does a run that is killed and goes on end in the same bits as one that nothing interrupts?"""

from __future__ import annotations

import argparse
import logging
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seqtrain.console import configure_logging, print_result, print_table
from seqtrain.errors import ConfigError
from seqtrain.training.checkpoint import checkpoint_name
from seqtrain.training.run_folder import CHECKPOINTS
from seqtrain.verification.command_line import Parser
from seqtrain.verification.comparison import Finding, compare_checkpoints, compare_rows
from seqtrain.verification.runs import Interruption, Runs

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Trains in one go; trains again, kills that run when it has saved, and lets it go on; compares the two to the bit:
weights, optimizer, schedule, counters, measures, and the batches of each update. The exit status is 0 if all is equal
and 1 if not. What follows the flags is handed to python -m seqtrain.train:

  python -m seqtrain.verify resume experiment=demo optimizer=my_optimizer
"""

NOT_REPEATABLE = (
    "not repeatable: two runs of this config differ before anything is interrupted. Something depends on the time, on "
    "the process, or on a random generator without a seed; on CUDA set training.deterministic=true"
)
OTHER_BATCHES = (
    "not exact: the run goes on with other batches. What a task's get_batch_iterator gives must depend on its options "
    "and the data alone, and begin with options.first_batch"
)
NOT_SAVED = (
    "not exact: the batches are the same and the updates are not. Something that they depend on is not saved: "
    "optimizer state outside of optimizer.state, a buffer that is not persistent, an attribute of a plug-in"
)

SAME_WEIGHTS = (
    "not exact: the weights are the same and something beside them is not. A measure or a setting depends on the time, "
    "or on sums that are not saved"
)


@dataclass(frozen=True)
class Options:
    """What a person asked for.

    Attributes:
        num_updates: Of the whole run.
        kill_at: The update whose checkpoint the run goes on from.
        signal: How it is interrupted.
        keep: Where the runs are written, to stay there; None takes a folder that is removed.
        overrides: Of the config.
    """

    num_updates: int
    kill_at: int
    signal: signal.Signals
    keep: Path | None
    overrides: list[str]


def run(arguments: Sequence[str]) -> int:
    """Make the runs, and print what is equal; the exit status."""
    options = parse(arguments)
    configure_logging()
    interruption = Interruption(options.num_updates, options.kill_at, options.signal)
    with _folder(options.keep) as folder:
        runs = Runs(folder, options.overrides, interruption)
        logger.info("1 of 3: %d updates in one go", options.num_updates)
        runs.run_whole()
        logger.info("2 of 3: %s when the checkpoint of update %d is written", options.signal.name, options.kill_at)
        newest = runs.interrupt()
        logger.info("3 of 3: going on from update %d", newest)
        runs.resume()
        outcome = compare(runs.whole, runs.resumed, options)
        _print(outcome, options.keep)
        return 0 if outcome.is_exact else 1


@dataclass(frozen=True)
class Outcome:
    """What comparing a run that was interrupted with one that was not gave.

    Attributes:
        batches: Of the batches of all updates.
        metrics: Of the rows of measures.
        before: Of the checkpoint that the run went on from.
        after: Of the checkpoint at the end.
    """

    batches: Finding
    metrics: Finding
    before: list[Finding]
    after: list[Finding]

    @property
    def findings(self) -> list[Finding]:
        """All of them."""
        return [self.batches, self.metrics, *self.before, *self.after]

    @property
    def is_exact(self) -> bool:
        """Whether nothing differs."""
        return all(finding.is_equal for finding in self.findings)

    @property
    def verdict(self) -> str:
        """What that means."""
        if self.is_exact:
            return "exact: the run that was interrupted is the same to the bit"
        if not all(finding.is_equal for finding in self.before):
            return NOT_REPEATABLE
        if not self.batches.is_equal:
            return OTHER_BATCHES
        has_weights = all(finding.is_equal for finding in self.after if finding.what.endswith(".safetensors"))
        return SAME_WEIGHTS if has_weights else NOT_SAVED


def compare(whole: Path, resumed: Path, options: Options) -> Outcome:
    """Compare two run folders.

    Args:
        whole: Of the run in one go.
        resumed: Of the run that was interrupted.
        options: At which updates both have checkpoints.
    """
    moments = ((options.kill_at, "before the interruption"), (options.num_updates, "at the end"))
    before, after = (
        list(
            compare_checkpoints(
                whole / CHECKPOINTS / checkpoint_name(update),
                resumed / CHECKPOINTS / checkpoint_name(update),
                f"update {update}, {name}",
            )
        )
        for update, name in moments
    )
    batches, metrics = (compare_rows(whole / name, resumed / name, name) for name in ("batches.jsonl", "metrics.jsonl"))
    return Outcome(batches, metrics, before, after)


def _print(outcome: Outcome, keep: Path | None) -> None:
    rows = [
        [finding.where, finding.what, "equal" if finding.is_equal else "DIFFERS", finding.detail]
        for finding in outcome.findings
    ]
    print_table("", rows)
    print_result(f"\n{outcome.verdict}")
    if not outcome.is_exact and keep is None:
        logger.info("--keep DIR keeps both run folders")


def parse(arguments: Sequence[str]) -> Options:
    """Read the words behind `resume`.

    Raises:
        ConfigError: A flag is unknown, or a number does not fit.
    """
    parser = Parser("resume", DESCRIPTION, "key=value, group=option: of python -m seqtrain.train")
    parser.add_argument("--updates", type=int, default=20, help="of the run; 20 if it is left out")
    parser.add_argument("--kill-at", type=int, help="the update after which to interrupt; two fifths if left out")
    parser.add_argument("--signal", choices=("kill", "term"), default="kill", help="how to interrupt; kill by default")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the runs into DIR and leave them there")
    given: argparse.Namespace = parser.parse_args(list(arguments))
    kill_at = given.kill_at if given.kill_at is not None else max(1, 2 * given.updates // 5)
    if not 0 < kill_at < given.updates:
        raise ConfigError(
            f"--kill-at {kill_at} must be at least 1 and less than --updates {given.updates}",
            remedy="--updates 20 --kill-at 8",
        )
    wrong = [word for word in given.words if "=" not in word and not word.startswith("~")]
    if wrong:
        raise ConfigError(f"{wrong[0]!r} is neither a flag nor an override", remedy="write key=value, or group=option")
    chosen = signal.SIGKILL if given.signal == "kill" else signal.SIGTERM
    return Options(given.updates, kill_at, chosen, given.keep, given.words)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where the runs are written.

    Raises:
        ConfigError: The folder that was named is not empty.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="seqtrain-verify-") as folder:
            yield Path(folder)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise ConfigError(f"--keep {keep}: there is something already", remedy="name a folder that does not exist yet")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep
