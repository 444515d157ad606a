"""Checking a whole config, and bringing it to and from plain values.

Every component is typed again from plain values against its registered schema, whatever route the config came by:
composed, written by hand, or taken from a checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seqtrain.config.convert import Fault, Faults, convert_fields, convert_section, join, make_section, shown
from seqtrain.config.docs import field_docs
from seqtrain.config.messages import explain_yaml
from seqtrain.config.registry import KINDS, Entry, load_builtins, registry
from seqtrain.config.schema import MISSING, Section
from seqtrain.errors import ConfigError

T = TypeVar("T")


def typed(root: type[T], container: Mapping[str, Any]) -> T:
    """A config from plain values, such as those of a checkpoint's config.yaml.

    Args:
        root: The root config: TrainConfig, say.
        container: Mappings, lists and scalars. What it leaves out takes its default.

    Returns:
        An instance of root. Each plug-in's part is an instance of the schema registered for its `_name`, and the file
        that registers it is imported if it was not.

    Raises:
        ConfigError: A key is unknown or missing, a value has the wrong type or is refused by `problems()`. All faults
            are listed.
        PluginError: A `_name` is not registered.
    """
    faults = Faults()
    config = read(root, container, faults)
    raise_faults(faults)
    assert config is not None, "a config without faults can be made"
    return config


def read(root: type[T], container: Mapping[str, Any], faults: Faults) -> T | None:
    """See `typed`; faults are taken down instead of raised, and nothing is returned where there are any."""
    load_builtins()
    refuse_targets(container, "", faults)
    if len(faults):
        return None
    entries = _entries(root, container)
    plain = _resolved(_with_references(container, entries))
    values = convert_fields(root, plain, "", faults)
    for kind in KINDS:
        if kind in values:
            values[kind] = _read_plugin(kind, values[kind], entries.get(kind), faults)
    if len(faults):
        return None
    config: T = make_section(root, values, "", faults)
    return config


def check(config: Any) -> None:
    """Ask every section of a config what is wrong with it.

    Raises:
        ConfigError: Something is; all of it is listed.
    """
    faults = Faults()
    _gather_problems(config, "", faults)
    raise_faults(faults)


def raise_faults(faults: Faults) -> None:
    """Raise one error that lists all faults and missing keys, if there are any.

    Raises:
        ConfigError: There are.
    """
    lines = [(f"{fault.key} {fault.text}", fault.remedy) for fault in faults.found]
    lines += [(_describe_missing(key, schema), None) for key, schema in faults.missing.items()]
    if not lines:
        return
    remedy = None
    if faults.missing:
        remedy = f"give what is missing on the command line: {' '.join(f'{key}=...' for key in faults.missing)}"
    if len(lines) == 1:
        raise ConfigError(lines[0][0], remedy=lines[0][1] or remedy)
    listed = [f"  {text}; {advice}" if advice else f"  {text}" for text, advice in lines]
    raise ConfigError("\n".join([f"the config has {len(lines)} faults", *listed]), remedy=remedy)


def to_container(config: Any) -> Any:
    """The plain values of a config: mappings, lists, numbers, text; an enum's member is its name, a path is text."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: to_container(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: to_container(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [to_container(value) for value in config]
    if isinstance(config, Enum):
        return config.name
    return str(config) if isinstance(config, Path) else config


def to_yaml(config: Any) -> str:
    """A config, or the plain values of one, as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(to_container(config)))


def from_yaml(source: str | Path) -> dict[str, Any]:
    """The plain values of a YAML text, or of a file if a Path is given; nothing in it can run code.

    Raises:
        ConfigError: It is not YAML, or not a mapping.
    """
    label = str(source) if isinstance(source, Path) else "the YAML text"
    try:
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        values = OmegaConf.to_container(OmegaConf.create(text))
    except yaml.YAMLError as error:
        raise explain_yaml(error, label) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{label} cannot be read: it is no YAML of a config") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{label} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{label} is no mapping of keys to values")
    return {str(key): value for key, value in values.items()}


def written_out(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a config that was saved with every value, as a checkpoint's is.

    Raises:
        ConfigError: A text in it refers to something else, which a file of strangers must not: to the environment, say.
    """
    faults = Faults()
    for key, value in _leaves(values, ""):
        if isinstance(value, str) and "${" in value:
            faults.add(key, f"is {value!r}, but a saved config has every value written out")
    raise_faults(faults)
    return values


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping | list):
        yield path, value
        return
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from _leaves(item, join(path, key))


def refuse_targets(value: Any, path: str, faults: Faults) -> None:
    """Take down every `_target_`: a config chooses among registered names, and never names code to call."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key == "_target_":
            faults.add(join(path, key), "is refused: a config cannot name code to call", "register a plug-in instead")
        refuse_targets(item, join(path, key), faults)


def _entries(root: type[Any], container: Mapping[str, Any]) -> dict[str, Entry]:
    """The registered plug-ins that a config names, by kind; files that register them are imported.

    Raises:
        PluginError: A name is not registered.
    """
    entries = {}
    for kind in {field.name for field in dataclasses.fields(root)} & set(KINDS):
        part = container.get(kind)
        name = part.get("_name") if isinstance(part, Mapping) else None
        if isinstance(name, str) and name != MISSING:
            entries[kind] = registry.require(kind, name)
    return entries


def _read_plugin(kind: str, value: Any, entry: Entry | None, faults: Faults) -> Any:
    if entry is not None:
        return convert_section(entry.schema, value, kind, faults)
    remedy = f"choose one: {', '.join(registry.all_names(kind))}"
    if value is None:
        faults.add(kind, f"is null, but a {kind} is needed", remedy)
    elif not isinstance(value, Mapping):
        faults.add(kind, f"must be the settings of a {kind}, but is {shown(value)}", remedy)
    else:
        faults.add(f"{kind}._name", f"is missing: it says which {kind} this is", remedy)
    return None


def _with_references(container: Mapping[str, Any], entries: Mapping[str, Entry]) -> dict[str, Any]:
    """The container, with the defaults of its plug-ins that refer to other keys (`II("optimizer.lr")`)."""
    plain = dict(container)
    for kind, entry in entries.items():
        defaults = {field.name: field.default for field in dataclasses.fields(entry.schema)}
        references = {name: text for name, text in defaults.items() if isinstance(text, str) and "${" in text}
        plain[kind] = {**references, **container[kind]}
    return plain


def _resolved(container: dict[str, Any]) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(OmegaConf.create(container), resolve=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "the config"
        raise ConfigError(f"{key} cannot be resolved: {str(error).splitlines()[0]}") from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _gather_problems(config: Any, path: str, faults: Faults) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            _gather_problems(value, join(path, field.name), faults)
    if isinstance(config, Section):
        faults.found += [Fault(join(path, problem.key), problem.text) for problem in config.problems()]


def _describe_missing(key: str, schema: type | None) -> str:
    if key in KINDS:
        return f"{key} is missing: one of {', '.join(registry.all_names(key))}"
    doc = field_docs(schema).get(key.rpartition(".")[2], "") if schema is not None else ""
    return f"{key} is missing: {doc}" if doc else f"{key} is missing"
