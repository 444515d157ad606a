"""The registry: from a kind and a name to schema and class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore

from seqtrain.config.registry import Entry, Registry, load_builtins, registry, suggest
from seqtrain.config.schema import PluginConfig
from seqtrain.errors import PluginError


@dataclass(kw_only=True)
class BaseConfig(PluginConfig):
    """The base of a kind that only these tests have."""


@pytest.fixture
def own() -> Iterator[Registry]:
    """A registry of one kind, gadget."""
    fresh = Registry()
    fresh.declare_kind("gadget", BaseConfig)
    yield fresh
    ConfigStore.instance().repo.pop("gadget", None)


def entry(schema: type[PluginConfig], name: str = "one", target: Any = dict, origin: str = "a.py:1") -> Entry:
    """A plug-in of the kind gadget."""
    return Entry("gadget", name, schema, target, origin)


def test_a_schema_gets_the_name_of_its_plugin(own: Registry) -> None:
    @dataclass(kw_only=True)
    class FirstConfig(BaseConfig):
        size: int = 1

    @dataclass(kw_only=True)
    class SecondConfig(FirstConfig):
        """Derived from a schema that has a name already."""

    own.add(entry(FirstConfig, "first"))
    own.add(entry(SecondConfig, "second", origin="a.py:2"))
    assert (FirstConfig()._name, SecondConfig()._name, BaseConfig()._name) == ("first", "second", "???")
    stored = ConfigStore.instance().repo["gadget"]
    assert {name: node.node._name for name, node in stored.items()} == {"first.yaml": "first", "second.yaml": "second"}


def test_a_name_can_be_taken_once(own: Registry) -> None:
    @dataclass(kw_only=True)
    class FirstConfig(BaseConfig): ...

    @dataclass(kw_only=True)
    class SecondConfig(BaseConfig): ...

    own.add(entry(FirstConfig))
    with pytest.raises(PluginError) as caught:
        own.add(entry(SecondConfig, origin="b.py:7"))
    assert str(caught.value) == "two plug-ins are called gadget=one: a.py:1 and b.py:7\nrename one of them"


def test_a_schema_that_cannot_hold_settings_is_not_registered(own: Registry) -> None:
    @dataclass(kw_only=True)
    class OddConfig(BaseConfig):
        size: complex = 3j

    with pytest.raises(PluginError, match=r"gadget=one \(a.py:1\): its schema cannot hold settings"):
        own.add(entry(OddConfig))
    assert own.find("gadget", "one") is None


def test_a_file_can_be_forgotten(own: Registry) -> None:
    @dataclass(kw_only=True)
    class FirstConfig(BaseConfig): ...

    own.add(entry(FirstConfig))
    own.remove("a.py:")
    assert own.names("gadget") == []
    assert ConfigStore.instance().repo["gadget"] == {}


def test_an_unknown_name_is_explained(own: Registry) -> None:
    @dataclass(kw_only=True)
    class FirstConfig(BaseConfig): ...

    own.add(entry(FirstConfig, "first"))
    with pytest.raises(PluginError) as caught:
        own.get("gadget", "frist")
    assert str(caught.value) == "no gadget is called 'frist'; there are: first\ndid you mean first?"


def test_a_class_is_imported_when_it_is_built() -> None:
    assert entry(BaseConfig, target="collections:OrderedDict").load().__name__ == "OrderedDict"
    assert entry(BaseConfig).load() is dict


def test_a_plugin_is_summed_up_by_the_first_line_of_its_schema() -> None:
    assert entry(BaseConfig).summary == "The base of a kind that only these tests have."


def test_built_in_plugins_say_where_they_are() -> None:
    load_builtins()
    for kind, name in [("model", "transformer"), ("task", "translation"), ("optimizer", "adam")]:
        origin, _, line = registry.get(kind, name).origin.rpartition(":")
        assert origin.endswith(".py")
        assert int(line) > 0


def test_suggestions_are_close_and_public() -> None:
    assert suggest("dropuot", ["dropout", "_name", "width"]) == "did you mean dropout?"
    assert suggest("dropuot", ["dropout"], prefix="model.") == "did you mean model.dropout?"
    assert suggest("name", ["_name"]) is None


@dataclass(kw_only=True)
class ReservedConfig(BaseConfig):
    """With a field that every config node has a method for."""

    items: list[str] = field(default_factory=list)


def test_a_field_cannot_hide_a_method_of_config_nodes(own: Registry) -> None:
    with pytest.raises(PluginError, match="a field cannot be called 'items'"):
        own.add(entry(ReservedConfig))
