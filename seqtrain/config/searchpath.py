"""How Hydra finds plug-ins: a source of configs that is always there, and folders named in hydra.searchpath.

Hydra's search path knows folders of YAML. Here a folder in it serves Python too: the schemas of its plug-ins, under the
names that `folders.py` reads from the files. One source at the base of the search path answers for all folders, so that
`--help`, Tab completion and `glob()`, which look no further than the base, show what is in them.
"""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource as HydraFileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin

from seqtrain.config import raw_values
from seqtrain.config.folders import PluginFolders, activate, active_folders, default_folders, named_folder
from seqtrain.config.registry import KINDS
from seqtrain.errors import ConfigError


class PluginSource(ConfigSource):
    """Answers for every folder of user plug-ins.

    The schemas themselves come from Hydra's ConfigStore, the last source: this one imports the file that registers a
    schema when it is looked up, and then says that it has no such config.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self._folders: PluginFolders = default_folders()
        activate(self._folders)

    def __reduce__(self) -> tuple[Any, ...]:
        """A child process finds the folders again by itself."""
        return type(self), (self.provider, self.full_path())

    def __deepcopy__(self, memo: dict[int, Any]) -> PluginSource:
        """Hydra copies its sources each time it composes."""
        return self

    @staticmethod
    def scheme() -> str:
        """See `ConfigSource`."""
        return "seqtrain"

    def available(self) -> bool:
        """See `ConfigSource`."""
        return True

    def is_config(self, config_path: str) -> bool:
        """Whether a folder has such a preset.

        Raises:
            PluginError: Several answer for it, or its plug-in file cannot be imported.
        """
        found = self._folders.resolve(_without_extension(config_path))
        return found is not None and found.preset is not None

    def load_config(self, config_path: str) -> ConfigResult:
        """See `ConfigSource`."""
        found = self._folders.resolve(_without_extension(config_path))
        if found is None or found.preset is None:
            raise ConfigLoadError(f"no preset is called {config_path}")
        return FileConfigSource(self.provider, f"file://{found.folder.presets}").load_config(config_path)

    def is_group(self, config_path: str) -> bool:
        """See `ConfigSource`."""
        return config_path == "" or any(
            (folder.presets is not None and (folder.presets / config_path).is_dir())
            or (config_path in KINDS and any(found.kind == config_path for found in folder.declarations()))
            for folder in self._folders
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """See `ConfigSource`."""
        names: set[str] = set()
        for folder in self._folders:
            if folder.presets is not None and (folder.presets / config_path).is_dir():
                presets = HydraFileConfigSource(self.provider, f"file://{folder.presets}")
                names.update(presets.list(config_path, results_filter))
        if config_path == "" and results_filter is not ObjectType.CONFIG:
            names.update(kind for kind in KINDS if self._folders.names(kind))
        if config_path in KINDS and results_filter is not ObjectType.GROUP:
            names.update(self._folders.names(config_path))
        return sorted(names)


class FileConfigSource(HydraFileConfigSource):
    """Hydra's source of a folder, but for folders in hydra.searchpath, which it hands to the `PluginSource`.

    Hydra compares sources by the name of their class, so that this one must be called like Hydra's.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self._is_plugin_folder = provider.startswith("hydra.searchpath in")
        if self._is_plugin_folder:
            folder = named_folder(self.path, "hydra.searchpath")
            active_folders().add(folder)
            self.path = str(folder.path)

    def is_config(self, config_path: str) -> bool:
        """See `ConfigSource`."""
        return not self._is_plugin_folder and super().is_config(config_path)

    def is_group(self, config_path: str) -> bool:
        """See `ConfigSource`."""
        return not self._is_plugin_folder and super().is_group(config_path)

    def available(self) -> bool:
        """See `ConfigSource`."""
        return self._is_plugin_folder or super().available()

    def load_config(self, config_path: str) -> ConfigResult:
        """See `ConfigSource`; takes down what YAML read as a boolean or a number.

        Raises:
            ConfigError: The file is no UTF-8 text.
        """
        try:
            result = super().load_config(config_path)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.path}/{_without_extension(config_path)}.yaml is no UTF-8 text") from error
        raw_values.take_down(_without_extension(config_path), result, self.path)
        return result


class PluginSearchPath(SearchPathPlugin):
    """Puts the `PluginSource` before seqtrain's own configs, so that it can tell when a name is taken twice."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """See `SearchPathPlugin`."""
        search_path.prepend(provider="seqtrain", path=f"{PluginSource.scheme()}://plugins", anchor="main")


def install() -> None:
    """Tell Hydra of the sources; doing so twice does no harm."""
    plugins = Plugins.instance()
    plugins.register(PluginSource)
    plugins.register(PluginSearchPath)
    SourcesRegistry.instance().types["file"] = FileConfigSource
    # Hydra 1.3 copies the whole store each time it composes or lists a group, which costs seconds with many plug-ins;
    # and a copy would not see the schema of a file that is imported while Hydra looks it up.
    ConfigStore.__deepcopy__ = _itself  # type: ignore[attr-defined] # it has none of its own


def _itself(store: ConfigStore, _memo: dict[int, Any]) -> ConfigStore:
    return store


def _without_extension(config_path: str) -> str:
    return config_path.removesuffix(".yaml")
