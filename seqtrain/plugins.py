"""`python -m seqtrain.plugins`: what plug-ins, presets and experiments there are; `... model=transformer`: one of them.

`hydra.searchpath=[file://FOLDER]` shows what a folder brings along, as it would for a run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from seqtrain.config import catalog, trial
from seqtrain.config.app import command_errors
from seqtrain.config.folders import active_folders
from seqtrain.config.paths import conf_folder
from seqtrain.config.registry import KINDS, suggest
from seqtrain.console import print_table
from seqtrain.errors import ConfigError


def main() -> None:
    """Run the command."""
    with command_errors():
        show(sys.argv[1:])


def show(arguments: Sequence[str]) -> None:
    """List all options of all groups, or show those that are named (`model=transformer`).

    Raises:
        ConfigError: An argument is none of these.
        PluginError: An option is not there, or its file cannot be imported.
    """
    wanted: list[tuple[str, str]] = []
    for argument in arguments:
        group, has_name, name = argument.partition("=")
        if group == "hydra.searchpath":
            catalog.use_search_path(argument)
        elif not has_name or group not in catalog.GROUPS:
            raise ConfigError(
                f"{argument!r} names no plug-in: write {', '.join(f'{kind}=NAME' for kind in catalog.GROUPS)}",
                remedy=suggest(group, catalog.GROUPS),
            )
        else:
            wanted.append((group, name))
    for group, name in wanted:
        _show_option(group, name)
    if not wanted:
        _show_all()


def _show_all() -> None:
    for group in catalog.GROUPS:
        rows = [[option.name, option.doc, _shorten(option.place)] for option in catalog.options(group)]
        print_table(f"{group}=", rows)
    sys.stdout.flush()
    broken = trial.errors_of(active_folders())
    if broken:
        print_table("Files that cannot be used", [[text] for text in broken])


def _show_option(group: str, name: str) -> None:
    option = catalog.find_option(group, name)
    print(f"{group}={name}  {_shorten(option.place)}")
    if option.doc:
        print(option.doc)
    if group not in KINDS:
        assert option.preset is not None, "an experiment is a YAML file"
        print(f"\n{option.preset.read_text(encoding='utf-8').rstrip()}")
        return
    entry, settings = catalog.settings(group, name)
    rows = [[one.name, one.type, f"{one.value} (preset)" if one.is_set else one.value, one.doc] for one in settings]
    title = "" if option.preset is None else f"The settings of {group}={entry.name}, of which it is a preset"
    print_table(title, [["key", "takes", "default", "meaning"], *rows])


def _shorten(place: str) -> str:
    """A path as one would type it from here."""
    for base in (Path.cwd(), conf_folder().parent):
        if Path(place).is_relative_to(base):
            return str(Path(place).relative_to(base))
    return place


if __name__ == "__main__":
    main()
