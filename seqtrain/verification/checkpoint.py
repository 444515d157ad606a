"""`verify checkpoint`: are checkpoints whole, finite, and of a model that can be built?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seqtrain.assemble import load_trained
from seqtrain.console import print_result, print_table
from seqtrain.errors import CheckpointError, ConfigError, PluginError, SeqtrainError
from seqtrain.training.checkpoint import MANIFEST, find_checkpoints
from seqtrain.training.run_folder import CHECKPOINTS
from seqtrain.verification.command_line import Parser
from seqtrain.verification.files import FileReport, inspect_files

DESCRIPTION = """\
Looks whether checkpoints can be trusted: the manifest, the size and checksum of each file, whether every number is
finite, and whether the weights fit the model of the config. The exit status is 0 if all is well and 2 if anything is
wrong.
"""
_LINKS = ("last", "best")


@dataclass(frozen=True)
class CheckpointReport:
    """What there is to say of one checkpoint folder.

    Attributes:
        folder: Its path.
        files: A report each.
        problems: What is wrong, beside what the files say of themselves.
        notes: What else a person should know.
    """

    folder: Path
    files: list[FileReport]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and not any(file.problem for file in self.files)


def run(arguments: Sequence[str]) -> int:
    """Print a report on each checkpoint; the exit status."""
    words: list[str] = (
        Parser("checkpoint", DESCRIPTION, "checkpoint folders, or run folders").parse_args(list(arguments)).words
    )
    if not words:
        raise ConfigError("no folder is named", remedy="python -m seqtrain.verify checkpoint outputs/RUN")
    reports = [inspect(folder) for word in words for folder in checkpoints_of(Path(word))]
    broken_links = [text for word in words for text in find_broken_links(Path(word))]
    for report in reports:
        _print(report)
    num_bad = sum(not report.is_good for report in reports)
    print_result("".join(f"\n{text}" for text in broken_links))
    print_result(f"{len(reports) - num_bad} of {len(reports)} checkpoints are good")
    return 2 if num_bad or broken_links else 0


def checkpoints_of(path: Path) -> list[Path]:
    """The checkpoint folders that a path names: one, or all of a run folder, the oldest first.

    Raises:
        ConfigError: It names none.
    """
    for folder in (path, path / CHECKPOINTS):
        if found := find_checkpoints(folder):
            return found[::-1]
    if path.is_dir() and ((path / MANIFEST).is_file() or path.name.startswith("update_")):
        return [path]
    raise ConfigError(
        f"{path}: there is no checkpoint", remedy="name a run folder, or a folder such as outputs/RUN/checkpoints/best"
    )


def find_broken_links(path: Path) -> list[str]:
    """What is wrong with the links `last` and `best` of a run folder."""
    links = (folder / name for folder in (path, path / CHECKPOINTS) for name in _LINKS)
    return [
        f"{link} points to {link.readlink()}, which is not there"
        for link in links
        if link.is_symlink() and not link.exists()
    ]


def inspect(folder: Path) -> CheckpointReport:
    """Look at all of a checkpoint folder."""
    report = CheckpointReport(folder, inspect_files(folder))
    try:
        _, _, model = load_trained(folder)
    except PluginError as error:
        report.notes.append(f"the model was not built, so the shapes are not compared: {error}")
    except CheckpointError as error:
        report.problems.append(str(error.args[0]))
    except SeqtrainError as error:
        report.problems.append(f"the config cannot be used: {error.args[0]}")
    else:
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        report.notes.append(f"the weights fit the model of {num_parameters:,} parameters")
    return report


def _print(report: CheckpointReport) -> None:
    rows = [
        [
            file.name,
            f"{file.num_bytes:,}",
            "" if file.num_tensors is None else f"{file.num_tensors:,}",
            "" if file.num_values is None else f"{file.num_values:,}",
            "" if file.num_not_finite is None else f"{file.num_not_finite:,}",
            file.problem or "good",
        ]
        for file in report.files
    ]
    header = ["file", "bytes", "tensors", "values", "not finite", "state"]
    print_table(f"{report.folder}: {'good' if report.is_good else 'BAD'}", [header, *rows], right=range(1, 5))
    for text in (*report.problems, *report.notes):
        print_result(f"  {text}")
