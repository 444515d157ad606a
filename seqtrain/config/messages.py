"""One-screen messages for what a person can mend, in place of tracebacks."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
import omegaconf
import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from seqtrain.config.command import JobFailedError
from seqtrain.config.convert import Faults, convert, hints_of, join
from seqtrain.config.folders import active_folders
from seqtrain.config.registry import KINDS, suggest
from seqtrain.errors import ConfigError, PreemptedError, SeqtrainError

_LIBRARIES = tuple(str(Path(module.__file__ or "").parent) for module in (hydra, omegaconf))
_CONVERSIONS = {"Integer": int, "Float": float, "Boolean": bool}
_EXPERIMENT_HEADER = "begin the file of an experiment with the line: # @package _global_"
_LAUNCHER_REMEDY = "look at the settings of the launcher: --cfg hydra --package hydra.launcher, without --multirun"
_LAUNCHER_EXTRAS = {"joblib": "sweep", "submitit_local": "slurm", "submitit_slurm": "slurm"}


def report(error: Exception, *, show_all: bool) -> int:
    """Show an error on stderr, and say with which status to leave.

    Args:
        error: What a command raised.
        show_all: Show the traceback of a person's mistake too.
    """
    if isinstance(error, JobFailedError):
        print(f"seqtrain: error: {error}; the other jobs of the sweep ran", file=sys.stderr)
        return 1
    if not isinstance(error, SeqtrainError) or show_all:
        traceback.print_exception(error)
    if isinstance(error, SeqtrainError):
        word = "stopped" if isinstance(error, PreemptedError) else "error"
        rank = os.environ.get("RANK", "0")
        name = "seqtrain" if rank == "0" else f"seqtrain, process {rank}"
        print(f"{name}: {word}: {error}", file=sys.stderr)
        return error.exit_status
    return 1


@contextmanager
def composing(overrides: Sequence[str] = ()) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML raise about a config into a ConfigError that one can read.

    Args:
        overrides: Of the command line, for what Hydra does not say.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, RecursionError) as error:
        raise explain(error) from error
    except (ValueError, AssertionError, TypeError) as error:
        if not _is_raised_by_hydra(error):
            raise
        raise _explain_null_group(overrides) or explain(error) from error
    except RuntimeError as error:
        if type(error).__name__ != "FailedJobError":  # submitit's, for what sbatch says
            raise
        raise ConfigError(f"the jobs could not be submitted:\n{error}", remedy=_LAUNCHER_REMEDY) from error


def explain(error: Exception) -> ConfigError:
    """What an error of Hydra, OmegaConf or YAML says, in seqtrain's words."""
    if isinstance(error, MissingConfigException):
        return _explain_missing_config(error)
    if isinstance(error, OverrideParseException):
        return _explain_override(error)
    if isinstance(error, yaml.YAMLError):
        return explain_yaml(error)
    if isinstance(error, RecursionError):
        return ConfigError(
            "a preset refers to itself", remedy="look for a YAML file that is called like its own default"
        )
    cause = _omegaconf_cause(error)
    where = _place_of(error)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError):
        return _explain_unknown_key(cause, where)
    if isinstance(cause, ValidationError):
        return _explain_type(cause, where)
    if cause is not None:
        key = f"{cause.full_key}{where}: " if cause.full_key else ""
        return ConfigError(f"{key}{_first_line(cause)}")
    return _explain_composition(_without_search_path(error))


def explain_yaml(error: yaml.YAMLError, label: str = "a YAML file") -> ConfigError:
    """Where a YAML text is wrong, and how."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or _first_line(error)
    if mark is None:
        return ConfigError(f"{label} cannot be read: {problem}")
    name = mark.name if mark.name and not mark.name.startswith("<") else label
    return ConfigError(f"{name}:{mark.line + 1}: {problem}")


def _explain_missing_config(error: MissingConfigException) -> ConfigError:
    text = _without_search_path(error)
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    parent = _parent_of(text)
    if group == "hydra/launcher" and name in _LAUNCHER_EXTRAS:
        return ConfigError(
            f"{group}={name} is a plug-in of Hydra's, which is not installed",
            remedy=f"pip install 'seqtrain[{_LAUNCHER_EXTRAS[name]}]'",
        )
    if error.options is None:
        if parent:
            return ConfigError(f"{parent} builds on {error.missing_cfg_file}, which is not there")
        return ConfigError(text)
    options = [str(option) for option in error.options]
    where = f" (in {parent})" if "/" in parent and not parent.startswith("hydra/") else ""
    broken = "".join(f"\n{line}" for line in active_folders().broken())
    return ConfigError(
        f"no {group} is called {name!r}{where}; there are: {', '.join(options)}{broken}", remedy=suggest(name, options)
    )


def _explain_override(error: OverrideParseException) -> ConfigError:
    place = re.search(r"at input '(.*)'", str(error))
    near = f", near {place.group(1)!r}" if place and place.group(1) not in ("", error.override) else ""
    return ConfigError(
        f"the override {error.override!r} cannot be read{near}",
        remedy="""quote a value that holds , = : ( ) [ ] { } or blanks: 'key="a, b"'""",
    )


def _explain_composition(text: str) -> ConfigError:
    ambiguous = re.match(r"Ambiguous value for argument '(.*)'", text) or re.match(r"Sweep parameters '(.*)'", text)
    if ambiguous:
        key, _, values = ambiguous.group(1).partition("=")
        return ConfigError(
            f"{key} is given several values: {values}",
            remedy=f"add --multirun to run each; a list is written {key}=[a,b], a text with a comma {key}=\\'a,b\\'",
        )
    if re.search(r"Could not override '.*@experiment", text):
        return ConfigError(text.splitlines()[0], remedy=_EXPERIMENT_HEADER)
    if text.startswith("hydra.searchpath must be a list"):
        return ConfigError("hydra.searchpath is no list", remedy="write 'hydra.searchpath=[file://FOLDER]'")
    return ConfigError(text)


def _explain_null_group(overrides: Sequence[str]) -> ConfigError | None:
    for override in overrides:
        group, _, value = override.partition("=")
        if value in ("null", "None", "") and group in (*KINDS, "experiment"):
            needed = f"a {group} is needed" if group in KINDS else "to have none, leave it out"
            return ConfigError(f"{override}: {needed}")
    return None


def _explain_unknown_key(error: ConfigKeyError | ConfigAttributeError, where: str) -> ConfigError:
    key = str(error.full_key or error.key)
    if key == "experiment" and where:
        return ConfigError(f"experiment is no key of the config{where}", remedy=_EXPERIMENT_HEADER)
    schema = getattr(error.object_type, "__name__", "dict")
    owner = "the config" if schema == "dict" else schema
    return ConfigError(f"{key} is no key of {owner}{where}", remedy=_suggest_key(key, error.parent_node))


def _suggest_key(key: str, parent: object) -> str | None:
    """The keys that look like this one: of the same section, then of the same name elsewhere, then of all."""
    if not isinstance(parent, DictConfig):
        return None
    root = parent._get_root()
    all_keys = list(_keys_of(root, "")) if isinstance(root, DictConfig) else []
    section, _, name = key.rpartition(".")
    siblings = [other.rpartition(".")[2] for other in all_keys if other.rpartition(".")[0] == section]
    near = suggest(name, siblings, prefix=join(section, ""))
    if near is not None:
        return near
    namesakes = [other for other in all_keys if other.rpartition(".")[2] == name]
    if namesakes:
        return f"did you mean {' or '.join(namesakes)}?"
    return f"its keys are {', '.join(siblings)}" if section and siblings else suggest(key, all_keys)


def _keys_of(node: DictConfig, path: str) -> Iterator[str]:
    for key in map(str, node):
        if key.startswith("_") or (not path and key == "hydra"):
            continue
        yield join(path, key)
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing() or child._is_interpolation()):
            yield from _keys_of(child, join(path, key))


def _explain_type(error: ValidationError, where: str) -> ConfigError:
    key, schema = str(error.full_key), error.object_type
    hints = hints_of(schema) if isinstance(schema, type) else {}
    text = _first_line(error)
    scalar = next((scalar for name, scalar in _CONVERSIONS.items() if text.endswith(f"converted to {name}")), None)
    annotation = hints.get(str(error.key), scalar)
    faults = Faults()
    if annotation is not None:
        convert(annotation, error.value, key, faults)
    if faults.found:
        return ConfigError(f"{key} {faults.found[0].text}{where}", remedy=faults.found[0].remedy)
    return ConfigError(f"{key}{where}: {text}")


def _place_of(error: BaseException) -> str:
    parent = _parent_of(str(error))
    return f" (in {parent})" if parent else ""


def _parent_of(text: str) -> str:
    """The config that Hydra says an error is in: model/my_lstm_big."""
    found = re.match(r"In '(.+?)'", text)
    return found.group(1) if found else ""


def _omegaconf_cause(error: BaseException) -> OmegaConfBaseException | None:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if isinstance(current, OmegaConfBaseException):
            return current
        seen.add(id(current))
        current = current.__cause__ or current.__context__
    return None


def _is_raised_by_hydra(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_LIBRARIES)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _without_search_path(error: Exception) -> str:
    text = str(error).partition("\nConfig search path")[0].strip()
    return "\n".join(line for line in text.splitlines() if line.strip()) or type(error).__name__
