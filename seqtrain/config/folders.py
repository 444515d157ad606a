"""Folders of user plug-ins: what each of them holds, and which of them answers for a name.

A folder holds plug-in files (`my_plugins/*.py`, and packages inside it) and presets (`my_plugins/conf/`). A file is
imported when one of its plug-ins is asked for, and not before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from seqtrain.config import modules
from seqtrain.config.declarations import Declaration, FileContents, read_declarations
from seqtrain.config.entry_points import installed_entry_points
from seqtrain.config.paths import checkout, conf_folder
from seqtrain.config.registry import KINDS, load_builtins, registry
from seqtrain.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_failed: dict[tuple[Path, int], PluginError] = {}  # Hydra composes twice, and swallows what the first time raises


@dataclass(frozen=True)
class PluginFolder:
    """One folder of plug-ins.

    Attributes:
        path: Of the folder, absolute.
        named_by: What named it: hydra.searchpath, SEQTRAIN_USER_DIR, an entry point; user_plugins if nothing did.
        package: The name of its Python package.
        only_file: The one file that counts, for an installed plug-in that is no package.
    """

    path: Path
    named_by: str
    package: str
    only_file: Path | None = None

    @property
    def is_default(self) -> bool:
        """Whether nobody named it; a folder that somebody named wins over it."""
        return self.named_by == "user_plugins"

    @cached_property
    def presets(self) -> Path | None:
        """The folder of its YAML groups: conf/; itself if it holds no Python."""
        if (self.path / "conf").is_dir():
            return self.path / "conf"
        return None if self.files else self.path

    @cached_property
    def files(self) -> list[Path]:
        """Its Python files, those of the packages inside it included."""
        if self.only_file is not None:
            return [self.only_file]
        packages = (init.parent for init in sorted(self.path.glob("*/__init__.py")))
        candidates = [*sorted(self.path.glob("*.py")), *(file for package in packages for file in _below(package))]
        return [file for file in candidates if "." not in file.stem and file.is_file()]

    @cached_property
    def contents(self) -> dict[Path, FileContents]:
        """What each of its files registers."""
        return {file: read_declarations(file) for file in self.files}

    def declarations(self) -> Iterator[Declaration]:
        """Every plug-in of its files; a file whose names only running it can tell is imported."""
        for file, contents in self.contents.items():
            yield from contents.declarations
            if contents.is_dynamic and self.error(file) is None:
                known = {(declaration.kind, declaration.name) for declaration in contents.declarations}
                yield from (found for found in _registered_by(file) if (found.kind, found.name) not in known)

    def error(self, file: Path) -> PluginError | None:
        """What is wrong with one of its files, as far as is known without importing it for no reason."""
        contents = self.contents[file]
        if contents.error is not None:
            return PluginError(
                f"the plug-in file {contents.error}", remedy="mend the file, or take it out of the folder"
            )
        if contents.is_dynamic:
            try:
                self.import_file(file)
            except PluginError as error:
                return error
        return _failed.get(_identity(file))

    def import_file(self, file: Path) -> None:
        """Import one of its files.

        Raises:
            PluginError: It raised; each time the same.
        """
        identity = _identity(file)
        if identity in _failed:
            raise _failed[identity]
        try:
            modules.import_file(file, modules.module_name(file, self.path, self.package), self.path)
        except PluginError as error:
            registry.remove(f"{file}:")
            _failed[identity] = error
            raise

    def preset(self, config_path: str) -> Path | None:
        """The YAML file of a group's option (`model/my_lstm_big`), or None."""
        file = self.presets / f"{config_path}.yaml" if self.presets is not None else None
        return file if file is not None and file.is_file() else None


@dataclass(frozen=True)
class Provider:
    """One thing that answers for an option: a preset, or a plug-in in a file."""

    folder: PluginFolder
    preset: Path | None = None
    declaration: Declaration | None = None

    @property
    def place(self) -> str:
        """The place for messages."""
        return self.declaration.place if self.declaration is not None else str(self.preset)


class PluginFolders:
    """The folders that one command uses."""

    def __init__(self, folders: Iterable[PluginFolder] = ()) -> None:
        self._folders: dict[Path, PluginFolder] = {}
        for folder in folders:
            self.add(folder)

    def add(self, folder: PluginFolder) -> None:
        """Use a folder too; one that somebody names stops to be a default."""
        known = self._folders.get(folder.path)
        if known is None or (known.is_default and not folder.is_default):
            self._folders[folder.path] = folder

    def __iter__(self) -> Iterator[PluginFolder]:
        """The folders, in the order in which they were named."""
        return iter(self._folders.values())

    def resolve(self, config_path: str) -> Provider | None:
        """The one that answers for an option; its plug-in file is imported.

        Args:
            config_path: As Hydra writes it: model/my_lstm.

        Returns:
            None if no folder has such an option.

        Raises:
            PluginError: Several answer for it, or the file cannot be imported.
        """
        providers = self._providers(config_path)
        if not providers:
            return None
        kind, _, name = config_path.rpartition("/")
        places = [*_built_in_places(config_path, providers), *(provider.place for provider in providers)]
        if len(places) > 1:
            raise PluginError(
                f"there are {len(places)} of {kind}={name}: {' and '.join(places)}", remedy="rename all but one of them"
            )
        (provider,) = providers
        if provider.declaration is not None:
            provider.folder.import_file(provider.declaration.file)
            if registry.find(kind, name) is None:
                raise PluginError(f"{provider.place} was imported, but did not register {kind}={name}")
        return provider

    def names(self, kind: str) -> list[str]:
        """The names of a kind's plug-ins in all folders, without presets, sorted."""
        return sorted({found.name for folder in self for found in folder.declarations() if found.kind == kind})

    def broken(self) -> list[str]:
        """What is wrong with each file that cannot be used, as far as is known."""
        errors = (folder.error(file) for folder in self for file in folder.files)
        return [str(error.args[0]) for error in errors if error is not None]

    def _providers(self, config_path: str) -> list[Provider]:
        found = [provider for folder in self for provider in _providers_in(folder, config_path)]
        return [provider for provider in found if not provider.folder.is_default] or found


def named_folder(path: str, named_by: str) -> PluginFolder:
    """The folder that a person named.

    Args:
        path: Absolute, or relative to the working directory, else to the checkout; its conf/ means the folder as well.
        named_by: What it was named with.

    Raises:
        PluginError: It is not there.
    """
    given = Path(path).expanduser()
    bases = [Path.cwd(), *([root] if (root := checkout()) is not None else [])]
    for base in bases:
        folder = (base / given).resolve()
        if folder.is_dir():
            if folder.name == "conf" and not _has_python(folder) and _has_python(folder.parent):
                folder = folder.parent
            return PluginFolder(folder, named_by, modules.package_of(folder))
    looked = f"; looked in {' and '.join(map(str, bases))}" if not given.is_absolute() else ""
    raise PluginError(f"{named_by} names a folder that is not there: {path}{looked}")


def default_folders() -> PluginFolders:
    """The folders that need not be named on the command line.

    Raises:
        PluginError: SEQTRAIN_USER_DIR names a folder that is not there.
    """
    folders = PluginFolders()
    for path in filter(None, os.environ.get("SEQTRAIN_USER_DIR", "").split(os.pathsep)):
        folders.add(named_folder(path, "SEQTRAIN_USER_DIR"))
    for folder in _installed_folders():
        folders.add(folder)
    for base in (Path.cwd(), checkout()):
        if base is not None and (base / "user_plugins").is_dir():
            folders.add(named_folder(str(base / "user_plugins"), "user_plugins"))
            break
    return folders


def _installed_folders() -> tuple[PluginFolder, ...]:
    import_path = tuple(sys.path)
    if import_path not in _installed:
        _installed[import_path] = tuple(_folder_of(point) for point in installed_entry_points(import_path))
    return _installed[import_path]


_installed: dict[tuple[str, ...], tuple[PluginFolder, ...]] = {}


def _folder_of(point: EntryPoint) -> PluginFolder:
    named_by = f"the entry point {point.name}"
    try:
        spec = find_spec(point.module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise PluginError(
            f"{named_by} names a module that is not there: {point.module}", remedy="reinstall its package"
        )
    file = Path(spec.origin).resolve()
    if spec.submodule_search_locations:
        return PluginFolder(file.parent, named_by, point.module)
    return PluginFolder(file.parent, named_by, point.module.rpartition(".")[0], only_file=file)


def _providers_in(folder: PluginFolder, config_path: str) -> Iterator[Provider]:
    preset = folder.preset(config_path)
    if preset is not None:
        yield Provider(folder, preset=preset)
    kind, _, name = config_path.rpartition("/")
    if kind in KINDS:
        for declaration in folder.declarations():
            if (declaration.kind, declaration.name) == (kind, name):
                yield Provider(folder, declaration=declaration)


def _built_in_places(config_path: str, providers: list[Provider]) -> list[str]:
    """Where seqtrain itself, or a file that was imported before, answers for the same option."""
    kind, _, name = config_path.rpartition("/")
    load_builtins()
    places = []
    preset = conf_folder() / f"{config_path}.yaml"
    if preset.is_file():
        places.append(str(preset))
    entry = registry.find(kind, name)
    files = {str(provider.declaration.file) for provider in providers if provider.declaration is not None}
    if entry is not None and entry.origin.rpartition(":")[0] not in files:
        places.append(entry.origin)
    return places


def _registered_by(file: Path) -> list[Declaration]:
    found = []
    for kind in KINDS:
        for name in registry.names(kind):
            entry = registry.get(kind, name)
            origin, _, line = entry.origin.rpartition(":")
            if origin == str(file):
                found.append(Declaration(kind, name, file, int(line), entry.summary))
    return found


def _has_python(folder: Path) -> bool:
    return any(folder.glob("*.py")) or any(folder.glob("*/__init__.py"))


def _below(package: Path) -> list[Path]:
    """The Python files of a package and of the packages inside it."""
    inner = (init.parent for init in sorted(package.glob("*/__init__.py")))
    return [*sorted(package.glob("*.py")), *(file for folder in inner for file in _below(folder))]


def _identity(file: Path) -> tuple[Path, int]:
    return file, file.stat().st_mtime_ns


_active: PluginFolders | None = None


def active_folders() -> PluginFolders:
    """The folders of the config that is being composed; where none is, those that need not be named."""
    return default_folders() if _active is None else _active


def activate(folders: PluginFolders | None) -> None:
    """Use these folders from now on (None: those that need not be named)."""
    global _active
    _active = folders
