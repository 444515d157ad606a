"""What seqtrain relies on in Hydra, and may break with a new version of it."""

from __future__ import annotations

import copy

from hydra._internal.core_plugins.file_config_source import FileConfigSource as HydraFileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from seqtrain.config.searchpath import FileConfigSource, PluginSource, install


def test_folders_of_the_search_path_are_taken_over() -> None:
    install()
    types = SourcesRegistry.instance().types
    assert types["file"] is FileConfigSource
    assert types["seqtrain"] is PluginSource
    # Hydra compares the names of classes when a child process registers its own sources again.
    assert FileConfigSource.__name__ == HydraFileConfigSource.__name__
    SourcesRegistry.instance().register(HydraFileConfigSource)
    assert types["file"] is FileConfigSource


def test_the_config_store_is_shared_and_not_copied() -> None:
    install()
    store = ConfigStore.instance()
    assert copy.deepcopy(store) is store
    assert copy.deepcopy([store])[0] is store


def test_installing_twice_does_no_harm() -> None:
    install()
    before = list(Plugins.instance().discover())
    install()
    assert Plugins.instance().discover() == before
