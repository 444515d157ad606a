"""`--rerun DIR`: run the saved config of a run again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from seqtrain.config.check import from_yaml
from seqtrain.config.command import PLUGIN_PROVIDER, Command
from seqtrain.config.folders import PluginFolders, activate, default_folders, named_folder
from seqtrain.config.messages import composing
from seqtrain.config.paths import conf_folder
from seqtrain.config.registry import KINDS, registry
from seqtrain.config.versions import saved_config
from seqtrain.errors import ConfigError

RERUN_CONFIG = "saved_run"
"""The name of the primary config of a run again."""


def store_saved_run(command: Command, run_dir: Path, overrides: Iterable[str]) -> list[str]:
    """Store the config that a run saved as a primary config, with the command's own settings of Hydra.

    The saved config is typed again, so that overrides of it are checked as ever; run_name is taken out, so that the new
    run has a folder of its own.

    Args:
        command: The command to run.
        run_dir: The folder of the saved run.
        overrides: Of the command line.

    Returns:
        The folders whose plug-ins the run used: they will be imported.

    Raises:
        ConfigError: The folder holds no saved config, or one that sets Hydra's own settings, or an override would need
            the groups that the config was composed from.
        PluginError: A plug-in of the config is not there any more.
    """
    _refuse_groups(overrides)
    saved = _read_saved(run_dir)
    saved.pop("run_name", None)
    named = _saved_plugin_folders(run_dir)
    _activate(named)
    with composing():
        values = OmegaConf.merge(_schema(command, saved), saved)
    store = ConfigStore.instance()
    store.store(name=f"{RERUN_CONFIG}_values", node=values, provider="seqtrain")
    store.store(name=RERUN_CONFIG, node=_primary(command, named), provider="seqtrain")
    return named


def _refuse_groups(overrides: Iterable[str]) -> None:
    for override in overrides:
        group = override.lstrip("+~").partition("=")[0].partition("@")[0]
        if group in (*KINDS, "experiment"):
            raise ConfigError(
                f"{override}: a run again keeps its {group}; the groups that its config was composed from are gone",
                remedy=f"set single keys ({group}.KEY=VALUE), or start from the first command line",
            )


def _read_saved(run_dir: Path) -> dict[str, Any]:
    if not run_dir.is_dir():
        raise ConfigError(f"--rerun: there is no folder {run_dir}")
    file = run_dir / ".hydra" / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"--rerun: {run_dir} is no run folder: it has no .hydra/config.yaml")
    saved = saved_config(file)
    for key in ("hydra", "defaults"):
        if key in saved:
            raise ConfigError(
                f"{file} sets {key}, which no saved config does: it could run code",
                remedy=f"look into the file; take {key} out if you trust the rest",
            )
    return saved


def _saved_plugin_folders(run_dir: Path) -> list[str]:
    """The folders that hydra.yaml names, but for those that need not be named."""
    file = run_dir / ".hydra" / "hydra.yaml"
    if not file.is_file():
        return []
    settings: Any = from_yaml(file)
    known = {str(folder.path) for folder in default_folders()}
    try:
        sources = settings["hydra"]["runtime"]["config_sources"]
        named = [str(source["path"]) for source in sources if source["provider"] == PLUGIN_PROVIDER]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{file} is none that seqtrain wrote: hydra.runtime.config_sources is missing") from error
    return [path for path in dict.fromkeys(named) if path not in known]


def _activate(named: Iterable[str]) -> None:
    folders: PluginFolders = default_folders()
    for path in named:
        folders.add(named_folder(path, "--rerun"))
    activate(folders)


def _schema(command: Command, saved: dict[str, Any]) -> Any:
    """The typed root, with the schema of each plug-in that the saved config names."""
    schema: Any = OmegaConf.structured(command.root)
    for kind in {field.name for field in dataclasses.fields(command.root)} & set(KINDS):
        part = saved.get(kind)
        if isinstance(part, dict):
            schema[kind] = OmegaConf.structured(registry.require(kind, str(part.get("_name"))).schema)
    return schema


def _primary(command: Command, named: Iterable[str]) -> dict[str, Any]:
    """A primary config like the command's own, with the saved values in the place of its groups."""
    own = from_yaml(conf_folder() / f"{command.name}.yaml")
    hydra_groups = [
        item for item in own["defaults"] if isinstance(item, dict) and "override hydra/" in next(iter(item))
    ]
    hydra_settings = {**own["hydra"], "searchpath": [f"file://{path}" for path in named]}
    return {"defaults": [f"{RERUN_CONFIG}_values", "_self_", *hydra_groups], "hydra": hydra_settings}
