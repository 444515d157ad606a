"""From a command line to a job: the one place where Hydra's main function is used.

A command's `main` is one line: `launch(Command("train", TrainConfig, run="seqtrain.assemble:train"))`. The config is
composed and checked before anything is written, before data is touched and before torch is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from datetime import datetime
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from seqtrain.config.arguments import CommandLine, completion_line, parse_arguments
from seqtrain.config.command import Command, Job
from seqtrain.config.folders import activate
from seqtrain.config.job import CheckFirst, JobRunner, Stopped
from seqtrain.config.messages import composing, report
from seqtrain.config.paths import conf_folder
from seqtrain.config.registry import load_builtins
from seqtrain.config.rerun import RERUN_CONFIG, store_saved_run
from seqtrain.config.searchpath import install
from seqtrain.errors import ConfigError

__all__ = ["Command", "Job", "command_errors", "launch"]


def launch(command: Command) -> None:
    """Run a command with the arguments of this process; leave with its exit status if that is not 0."""
    with command_errors():
        line = parse_arguments(sys.argv[1:])
        if line.is_completion:
            _complete(command, line)
        else:
            _launch(command, line)


@contextmanager
def command_errors() -> Iterator[None]:
    """Show an error as one screen, and leave with its exit status."""
    show_all = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        yield
    except KeyboardInterrupt:
        print("seqtrain: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        sys.exit(report(error, show_all=show_all))
    finally:
        activate(None)


def _complete(command: Command, line: CommandLine) -> None:
    """Answer a press of Tab; a person who is typing wants no errors."""
    os.environ["COMP_LINE"] = completion_line(os.environ.get("COMP_LINE", ""))
    with suppress(Exception, SystemExit), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        _launch(command, line)


def _launch(command: Command, line: CommandLine) -> None:
    if command.name != "train" and (line.allowed_changes or "resume" in line.flags):
        raise ConfigError(f"--resume and --allow-changes belong to seqtrain.train, and this is seqtrain.{command.name}")
    prepare(command)
    config_name = command.name
    if line.rerun is not None:
        config_name = RERUN_CONFIG
        for folder in store_saved_run(command, line.rerun, line.hydra):
            print(f"seqtrain: imports the plug-ins that the run used, from {folder}", file=sys.stderr)
    runner = JobRunner(command, line, sys.argv[1:])

    @hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=config_name)
    def main(config: DictConfig) -> float | None:
        return runner.run(config)

    with _process_for_hydra([*line.hydra, *_overrides_of_rank()]):
        CheckFirst.runner = runner
        try:
            with composing(line.hydra):
                main()
        except Stopped:
            pass
        finally:
            CheckFirst.runner = None
            runner.remove_empty_folders()
    if runner.failure is not None:
        raise runner.failure


def prepare(command: Command) -> None:
    """Tell Hydra what it needs to compose the config of a command."""
    install()
    load_builtins()
    store = ConfigStore.instance()
    store.store(name=f"{command.name}_schema", node=command.root, provider="seqtrain")
    callback = {"seqtrain": {"_target_": f"{CheckFirst.__module__}.{CheckFirst.__qualname__}"}}
    store.store(group="hydra/callbacks", name="seqtrain", node=callback, provider="seqtrain")
    OmegaConf.register_new_resolver("run_folder", _run_folder, use_cache=True, replace=True)


def _run_folder(name: str | None, parent: str) -> str:
    """The name of a run's folder below parent: the one given, else date and time, with a number if that is taken."""
    if name is not None:
        return name
    stamp = datetime.now().strftime("%Y-%m-%d/%H-%M-%S")
    numbered = (stamp if number == 1 else f"{stamp}-{number}" for number in range(1, 1_000_000))
    return next(folder for folder in numbered if not Path(parent, folder).exists())


def _overrides_of_rank() -> list[str]:
    """Under torchrun, the ranks but the first write nothing; the first tells them its folder."""
    if int(os.environ.get("RANK", "0")) == 0:
        return []
    return ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]


@contextmanager
def _process_for_hydra(arguments: list[str]) -> Iterator[None]:
    """Hydra reads sys.argv, and raises its errors instead of printing them where HYDRA_FULL_ERROR is 1."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [argv[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
