"""Running the job of a composed config: check it, call the command's function, keep errors in order."""

from __future__ import annotations

import copy
import importlib
import logging
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from seqtrain.config import modules, raw_values
from seqtrain.config.arguments import CommandLine
from seqtrain.config.check import raise_faults, read, to_yaml
from seqtrain.config.command import PLUGIN_PROVIDER, Command, Job, JobFailedError
from seqtrain.config.convert import Faults
from seqtrain.config.messages import composing
from seqtrain.config.registry import KINDS
from seqtrain.config.schema import Section
from seqtrain.errors import ConfigError, PreemptedError, SeqtrainError
from seqtrain.files import disk_errors

log = logging.getLogger(__name__)


class Stopped(BaseException):
    """There is nothing to run, or something to report first.

    No Exception, because Hydra turns those of a callback into warnings.
    """


class JobRunner:
    """Runs the job of one command line, or each job of its sweep.

    Attributes:
        failure: What the job of a single run raised; kept aside, so that Hydra adds nothing to it.
    """

    def __init__(self, command: Command, line: CommandLine, argv: list[str]) -> None:
        self.command = command
        self.flags = line.flags
        self.allowed_changes = line.allowed_changes
        self.argv = argv
        self.failure: Exception | None = None
        self._checked: Section | None = None
        self._run_dir: Path | None = None
        self._made_first: Path | None = None
        self._folder_of_checks: Path | None = None

    def check_before_run(self, config: DictConfig) -> None:
        """Check the config of a single run before Hydra makes its folder.

        Raises:
            Stopped: The config is wrong, as `failure` tells, or checking was all that was asked for.
        """
        run_dir = Path(os.path.abspath(str(OmegaConf.select(config, "hydra.run.dir"))))
        with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = str(run_dir)  # as Hydra does a little later; a config may refer to it
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)
        try:
            _refuse_launcher(config)
            self._checked = self._check(_without_hydra(config))
        except Exception as error:
            self.failure = error
            raise Stopped from error
        finally:
            HydraConfig.instance().cfg = before
        if "check" in self.flags:
            self._say_right(self._checked)
            raise Stopped
        self._run_dir = run_dir
        missing = [path for path in (run_dir, *run_dir.parents) if not path.exists()]
        self._made_first = missing[-1] if missing else None

    def run(self, config: DictConfig) -> float | None:
        """The task function of Hydra."""
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            return self._run_in_sweep(config)
        try:
            return self._run(config, is_sweep=False)
        except Exception as error:
            self.failure = error
            return None

    def check_in_sweep(self, config: DictConfig) -> None:
        """Have the jobs of a sweep checked here, by Hydra's own launcher, and what it writes put aside."""
        self._folder_of_checks = Path(tempfile.mkdtemp(prefix="seqtrain-check-"))
        config.hydra.launcher = {"_target_": f"{BasicLauncher.__module__}.{BasicLauncher.__qualname__}"}
        config.hydra.sweep.dir = str(self._folder_of_checks)
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{self._folder_of_checks}'")  # jobs are composed anew

    def remove_empty_folders(self) -> None:
        """Take back the folder that Hydra made for the run, if nothing was written there, and that of mere checks."""
        if self._folder_of_checks is not None:
            shutil.rmtree(self._folder_of_checks, ignore_errors=True)
        if self._run_dir is None or self._made_first is None:
            return
        with suppress(OSError):
            for path in (self._run_dir, *self._run_dir.parents):
                path.rmdir()
                if path == self._made_first:
                    break

    def _run_in_sweep(self, config: DictConfig) -> float | None:
        overrides = " ".join(HydraConfig.get().overrides.task)
        try:
            return self._run(config, is_sweep=True)
        except PreemptedError as error:
            log.error("seqtrain: %s", error)
            sys.exit(error.exit_status)
        except SeqtrainError as error:
            log.error("the job %s failed: %s", overrides, error)
            raise JobFailedError(f"the job {overrides} failed") from None
        except Exception:
            log.exception("the job %s failed", overrides)
            raise JobFailedError(f"the job {overrides} failed") from None

    def _run(self, config: DictConfig, *, is_sweep: bool) -> float | None:
        checked = self._checked or self._check(config)
        if "check" in self.flags:
            self._say_right(checked)
            return None
        module, _, function = self.command.run.partition(":")
        run: Any = getattr(importlib.import_module(module), function)
        with disk_errors():
            result: float | None = run(checked, self._describe(config, checked, is_sweep=is_sweep))
        return result

    def _check(self, config: DictConfig) -> Section:
        with composing():
            container = OmegaConf.to_container(config, resolve=True, throw_on_missing=False, enum_to_str=True)
        if not isinstance(container, dict):
            raise ConfigError("the config is no mapping of keys to values")
        faults = Faults()
        _refuse_renamed_plugins(config, faults)
        raise_faults(faults)
        raw_values.check_texts(container, HydraConfig.get().overrides.task, faults)
        checked = read(self.command.root, {str(key): value for key, value in container.items()}, faults)
        raise_faults(faults)
        assert checked is not None, "a config without faults can be made"
        return checked

    def _say_right(self, checked: Section) -> None:
        choices = [f"{kind}={getattr(checked, kind)._name}" for kind in KINDS if hasattr(checked, kind)]
        print(" ".join(["the config is right:", self.command.name, *choices]))

    def _describe(self, config: DictConfig, checked: Section, *, is_sweep: bool) -> Job:
        hydra_config = HydraConfig.get()
        return Job(
            command=self.command.name,
            run_dir=Path(hydra_config.runtime.output_dir),
            hydra_files=_hydra_files(config, _plugin_folders(checked)),
            resolved=to_yaml(checked),
            is_sweep=is_sweep,
            argv=list(self.argv),
            plugin_folders=_plugin_folders(checked),
            flags=self.flags,
            allowed_changes=self.allowed_changes,
        )


class CheckFirst(Callback):
    """Hydra's call before it makes the folder of a single run."""

    runner: JobRunner | None = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See `JobRunner.check_before_run`."""
        if self.runner is not None:
            self.runner.check_before_run(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse what cannot start the jobs; where configs are only checked, the jobs are run here."""
        if self.runner is None:
            return
        if "check" in self.runner.flags:
            self.runner.check_in_sweep(config)
        self.runner.failure = _launch_fault(config)
        if self.runner.failure is not None:
            raise Stopped


def _launch_fault(config: DictConfig) -> ConfigError | None:
    """Why the jobs of a sweep cannot be started."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # the ranks would each run sweeps of their own
        return ConfigError("a sweep cannot run under torchrun", remedy="start the runs one by one, each with torchrun")
    is_slurm = str(config.hydra.launcher.get("_target_")).endswith(".SlurmLauncher")
    if is_slurm and None in (shutil.which("sbatch"), shutil.which("srun")):
        name = config.hydra.runtime.choices["hydra/launcher"]
        return ConfigError(
            f"hydra/launcher={name} needs SLURM, which is not on this machine",
            remedy="start it on the cluster, or take hydra/launcher=submitit_local",
        )
    return None


def _refuse_launcher(config: DictConfig) -> None:
    """A launcher starts what a sweep has composed; Hydra would pass over it without a word.

    Raises:
        ConfigError: The command line of a single run names one.
    """
    name = config.hydra.runtime.choices["hydra/launcher"]
    if name != "basic":
        raise ConfigError(
            f"hydra/launcher={name} starts the jobs of a sweep, and this is none", remedy="add --multirun"
        )


def _without_hydra(config: DictConfig) -> DictConfig:
    task_config = copy.deepcopy(config)
    with read_write(task_config), open_dict(task_config):
        del task_config["hydra"]
    return task_config


def _refuse_renamed_plugins(config: DictConfig, faults: Faults) -> None:
    """Take down a `_name` that was set by itself: the settings around it are those of another plug-in."""
    for kind in KINDS:
        node = config._get_node(kind) if kind in config else None
        composed = getattr(OmegaConf.get_type(node), "_name", None) if isinstance(node, DictConfig) else None
        if isinstance(node, DictConfig) and composed is not None and node.get("_name") != composed:
            name = node.get("_name")
            faults.add(
                f"{kind}._name", f"is {name!r}, but the settings are those of {composed}", f"write {kind}={name}"
            )


def _plugin_folders(config: Section) -> list[str]:
    """The user folders that the plug-ins of a config come from."""
    schemas = (type(getattr(config, kind)) for kind in KINDS if hasattr(config, kind))
    folders = (modules.folder_of(schema.__module__) for schema in schemas)
    return list(dict.fromkeys(str(folder) for folder in folders if folder is not None))


def _hydra_files(config: DictConfig, plugin_folders: list[str]) -> dict[str, str]:
    settings: Any = HydraConfig.instance().cfg
    saved: Any = OmegaConf.to_container(settings, resolve=False, enum_to_str=True)
    for key in ("help", "hydra_help"):  # screens of text that say nothing of this run
        del saved["hydra"][key]
    saved["hydra"]["runtime"]["config_sources"] += [
        {"provider": PLUGIN_PROVIDER, "schema": "file", "path": folder} for folder in plugin_folders
    ]
    return {
        "config.yaml": OmegaConf.to_yaml(config),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create(saved)),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(saved["hydra"]["overrides"]["task"])),
    }
