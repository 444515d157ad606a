"""What there is to choose from: every option of every group, with what it is and where it comes from."""

from __future__ import annotations

import dataclasses
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from seqtrain.config.check import from_yaml, to_container
from seqtrain.config.convert import expectation, hints_of
from seqtrain.config.docs import field_docs
from seqtrain.config.folders import PluginFolders, activate, active_folders, default_folders, named_folder
from seqtrain.config.paths import conf_folder
from seqtrain.config.registry import KINDS, Entry, load_builtins, registry, suggest
from seqtrain.config.schema import MISSING
from seqtrain.errors import ConfigError, PluginError

GROUPS = (*KINDS, "experiment")


@dataclass(frozen=True)
class Option:
    """One option of a group.

    Attributes:
        group: A kind of plug-in, or experiment.
        name: What is written after the group: `model=NAME`.
        doc: What it is, in one line.
        place: The file, with the line where a plug-in is registered.
        preset: The YAML file of a preset; None for a plug-in.
    """

    group: str
    name: str
    doc: str
    place: str
    preset: Path | None = None


@dataclass(frozen=True)
class Setting:
    """One field of a plug-in.

    Attributes:
        name: The key.
        type: What it takes, in words.
        value: Its default, or what the preset sets, as YAML writes it.
        is_set: Whether a preset sets it.
        doc: What it means.
    """

    name: str
    type: str
    value: str
    is_set: bool
    doc: str


def use_search_path(override: str) -> None:
    """Look in the folders of `hydra.searchpath=[...]` too.

    Raises:
        ConfigError: It is no list.
        PluginError: A folder is not there.
    """
    (parsed,) = OverridesParser.create().parse_overrides([override])
    paths = parsed.value()
    if not isinstance(paths, list):
        raise ConfigError("hydra.searchpath is no list", remedy="write 'hydra.searchpath=[file://FOLDER]'")
    folders: PluginFolders = default_folders()
    for path in paths:
        folders.add(named_folder(str(path).removeprefix("file://"), "hydra.searchpath"))
    activate(folders)


def options(group: str) -> list[Option]:
    """The options of a group, by name; no plug-in file is imported."""
    load_builtins()
    found: list[Option] = []
    if group in KINDS:
        entries = [registry.get(group, name) for name in registry.names(group)]
        found += [Option(group, entry.name, entry.summary, entry.origin) for entry in entries if _is_built_in(entry)]
    found += [_preset_option(group, file) for file in sorted((conf_folder() / group).glob("*.yaml"))]
    for folder in active_folders():
        declared = (found for found in folder.declarations() if found.kind == group)
        found += [Option(group, one.name, one.doc, one.place) for one in declared]
        if folder.presets is not None:
            found += [_preset_option(group, file) for file in sorted((folder.presets / group).glob("*.yaml"))]
    return sorted(found, key=lambda option: (option.name, option.place))


def find_option(group: str, name: str) -> Option:
    """The option of that name; a plug-in's file is imported.

    Raises:
        PluginError: There is none or several of the name, or its file cannot be imported.
    """
    folders = active_folders()
    provider = folders.resolve(f"{group}/{name}")
    candidates = [option for option in options(group) if option.name == name]
    if not candidates:
        names = sorted({option.name for option in options(group)})
        lines = [f"no {group} is called {name!r}; there are: {', '.join(names)}", *folders.broken()]
        raise PluginError("\n".join(lines), remedy=suggest(name, names))
    places = {provider.place} if provider is not None else {option.place for option in candidates}
    return next(option for option in candidates if option.place in places)


def settings(kind: str, name: str) -> tuple[Entry, list[Setting]]:
    """The plug-in behind an option, and its fields with the values that the option gives them.

    Raises:
        PluginError: There is no such option, or its file cannot be imported.
    """
    values: dict[str, Any] = {}
    option = find_option(kind, name)
    while option.preset is not None:
        preset = from_yaml(option.preset)
        values = {**preset, **values}
        bases = [item for item in values.pop("defaults", []) if isinstance(item, str) and item != "_self_"]
        if not bases:
            break
        option = find_option(kind, bases[0])
    entry = registry.require(kind, option.name)
    hints, docs = hints_of(entry.schema), field_docs(entry.schema)
    rows = []
    for field in dataclasses.fields(entry.schema):
        if field.name != "_name":
            is_set = field.name in values
            value = values[field.name] if is_set else default_of(field)
            rows.append(
                Setting(
                    field.name,
                    expectation(hints[field.name]),
                    "must be given" if value == MISSING else _as_yaml(value),
                    is_set,
                    docs.get(field.name, ""),
                )
            )
    return entry, rows


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default; MISSING if it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return MISSING if field.default is dataclasses.MISSING else field.default


def _is_built_in(entry: Entry) -> bool:
    file = Path(entry.origin.rpartition(":")[0])
    return not any(file.is_relative_to(folder.path) for folder in active_folders())


def _preset_option(group: str, file: Path) -> Option:
    return Option(group, file.stem, _first_sentence(file), str(file), preset=file)


def _first_sentence(file: Path) -> str:
    """Of the comment at the beginning of a YAML file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = [
        line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)
    ]
    text = " ".join(comment for comment in comments if not comment.startswith("@"))
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def _as_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(to_container(value), default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()
