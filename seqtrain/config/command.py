"""What a command is, and what its job is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from seqtrain.config.schema import Section

PLUGIN_PROVIDER = "seqtrain plug-ins"
"""What hydra.yaml calls the user folders that a config's plug-ins come from."""


@dataclass(frozen=True)
class Command:
    """One command of seqtrain.

    Attributes:
        name: Of the command and of its primary config, conf/NAME.yaml.
        root: The dataclass of its config.
        run: "module:function", imported when the job starts and called with (config, job); what it returns is the
            objective of a sweep.
    """

    name: str
    root: type[Section]
    run: str


@dataclass(frozen=True)
class Job:
    """What a job knows beside its config.

    Attributes:
        command: The command's name.
        run_dir: The folder to write into, absolute. Hydra has written nothing there.
        hydra_files: The texts for RUN/.hydra: config.yaml (as composed, references kept), hydra.yaml, overrides.yaml.
        resolved: The checked config as YAML, every value filled in.
        is_sweep: Whether this is one job of a sweep.
        argv: The command line, without the program.
        plugin_folders: The user folders whose plug-ins the config uses.
        flags: seqtrain's own flags, without their dashes: resume, rerun.
        allowed_changes: The keys that may differ from the config of the run that goes on, or patterns of them.
    """

    command: str
    run_dir: Path
    hydra_files: dict[str, str]
    resolved: str
    is_sweep: bool
    argv: list[str]
    plugin_folders: list[str] = field(default_factory=list)
    flags: frozenset[str] = frozenset()
    allowed_changes: frozenset[str] = frozenset()


class JobFailedError(RuntimeError):
    """A job of a sweep failed; with its one argument it survives the way out of a child process."""
