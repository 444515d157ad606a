"""The registry: from a kind and a `_name` to the schema and the class, the only way from a config to code.

`@register_model("my_lstm", MyLSTMConfig)` and its four sisters store the schema in Hydra's ConfigStore (group = kind,
name = name) and remember the class. A built-in whose class needs torch registers it from the light file that holds the
schema, `register_model("transformer", TransformerConfig, at=".model:Transformer")`; the class is imported when it is
built, so composing a config never imports torch.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seqtrain.config.schema import PluginConfig
from seqtrain.errors import PluginError

T = TypeVar("T", bound=Callable[..., Any])

KINDS = ("model", "criterion", "task", "optimizer", "lr_scheduler")

KIND_PACKAGES = {
    "model": "seqtrain.models",
    "criterion": "seqtrain.criterions",
    "task": "seqtrain.tasks",
    "optimizer": "seqtrain.optimizers",
    "lr_scheduler": "seqtrain.lr_schedulers",
}

_RESERVED_FIELDS = frozenset(dir(DictConfig))


@dataclass(frozen=True)
class Entry:
    """One registered plug-in.

    Attributes:
        kind: One of `KINDS`.
        name: Its `_name`.
        schema: The dataclass of its settings.
        target: Its class (or a callable that builds it), or "module:Class" to import when it is built.
        origin: "file:line" of the registration, for messages.
    """

    kind: str
    name: str
    schema: type[PluginConfig]
    target: Callable[..., Any] | str
    origin: str

    @property
    def is_built_in(self) -> bool:
        """Whether it comes with seqtrain."""
        return self.schema.__module__.startswith("seqtrain.")

    @property
    def summary(self) -> str:
        """The first line of the schema's docstring."""
        lines = (self.schema.__doc__ or "").strip().splitlines()
        return lines[0] if lines else ""

    def load(self) -> Callable[..., Any]:
        """The class, imported now if it was registered by its address."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        loaded: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return loaded


class _SchemaNode(ConfigNode):
    """A schema in Hydra's ConfigStore, made into a config when it is asked for: a command needs five of them."""

    def __init__(self, entry: Entry) -> None:
        self.name = f"{entry.name}.yaml"
        self.group = entry.kind
        self.package = None
        self.provider = "seqtrain"
        self._entry = entry

    @cached_property
    def node(self) -> DictConfig:  # type: ignore[override] # an attribute there
        """The schema with its defaults.

        Raises:
            PluginError: It has a field of a type that a config cannot hold.
        """
        entry = self._entry
        try:
            config: DictConfig = OmegaConf.structured(entry.schema)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise PluginError(
                f"{entry.kind}={entry.name} ({entry.origin}): its schema cannot hold settings: {reason}",
                remedy="use bool, int, float, str, enums, lists, dicts and dataclasses of these, and `| None`",
            ) from error
        return config


class Registry:
    """All registered plug-ins of the five kinds."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._bases: dict[str, type[PluginConfig]] = {}

    def declare_kind(self, kind: str, base: type[PluginConfig]) -> None:
        """Say which dataclass the schemas of a kind derive from."""
        self._bases[kind] = base

    def add(self, entry: Entry) -> None:
        """Register a plug-in and store its schema with Hydra.

        Raises:
            PluginError: The name is taken, or the schema is not one of the kind's.
        """
        known = self._entries.get((entry.kind, entry.name))
        if known is not None:
            raise PluginError(
                f"two plug-ins are called {entry.kind}={entry.name}: {known.origin} and {entry.origin}",
                remedy="rename one of them",
            )
        self._check_schema(entry)
        _set_name(entry.schema, entry.name)
        node = _SchemaNode(entry)
        if not entry.is_built_in:
            node.node  # noqa: B018 - whoever wrote it hears at once what is wrong with it
        ConfigStore.instance().repo.setdefault(entry.kind, {})[node.name] = node
        self._entries[entry.kind, entry.name] = entry

    def remove(self, origin_prefix: str) -> None:
        """Forget every plug-in whose origin starts with the prefix (a file that raised halfway through)."""
        for key, entry in list(self._entries.items()):
            if entry.origin.startswith(origin_prefix):
                del self._entries[key]
                ConfigStore.instance().repo.get(entry.kind, {}).pop(f"{entry.name}.yaml", None)

    def get(self, kind: str, name: str) -> Entry:
        """The plug-in of that kind and name.

        Raises:
            PluginError: There is none; the message suggests names that are close.
        """
        entry = self._entries.get((kind, name))
        if entry is None:
            names = self.names(kind)
            raise PluginError(
                f"no {kind} is called {name!r}; there are: {', '.join(names)}", remedy=suggest(name, names)
            )
        return entry

    def require(self, kind: str, name: str) -> Entry:
        """The plug-in of that kind and name; the file that registers it is imported if it was not.

        Raises:
            PluginError: There is none, there are two, or its file cannot be imported.
        """
        from seqtrain.config.folders import active_folders

        load_builtins()
        folders = active_folders()
        folders.resolve(f"{kind}/{name}")
        entry = self.find(kind, name)
        if entry is not None:
            return entry
        names = self.all_names(kind)
        broken = "".join(f"\n{text}" for text in folders.broken())
        raise PluginError(
            f"no {kind} is called {name!r}; there are: {', '.join(names)}{broken}",
            remedy=suggest(name, names) or "name the folder of its plug-in: hydra.searchpath=[file://FOLDER]",
        )

    def find(self, kind: str, name: str) -> Entry | None:
        """The plug-in of that kind and name, or None."""
        return self._entries.get((kind, name))

    def names(self, kind: str) -> list[str]:
        """The registered names of a kind, sorted."""
        return sorted(name for entry_kind, name in self._entries if entry_kind == kind)

    def all_names(self, kind: str) -> list[str]:
        """The names of a kind, those in user folders whose files are not imported included, sorted."""
        from seqtrain.config.folders import active_folders

        load_builtins()
        return sorted({*self.names(kind), *active_folders().names(kind)})

    def _check_schema(self, entry: Entry) -> None:
        schema, label = entry.schema, f"{entry.kind}={entry.name} ({entry.origin})"
        if "__dataclass_fields__" not in vars(schema):
            raise PluginError(
                f"{label}: its schema {schema.__name__} is not a dataclass",
                remedy=f"write @dataclass(kw_only=True) above class {schema.__name__}",
            )
        base = self._bases[entry.kind]
        if not issubclass(schema, base):
            raise PluginError(
                f"{label}: its schema {schema.__name__} does not derive from {base.__name__}",
                remedy=f"class {schema.__name__}({base.__name__}):",
            )
        for other in self._entries.values():
            if other.schema is schema:
                raise PluginError(
                    f"{label}: its schema {schema.__name__} belongs to {other.kind}={other.name} ({other.origin})",
                    remedy="give each plug-in a schema of its own (a subclass will do)",
                )
        for field in dataclasses.fields(schema):
            if field.name in _RESERVED_FIELDS:
                raise PluginError(
                    f"{label}: a field cannot be called {field.name!r}, which is a method of every config node",
                    remedy=f"rename the field {field.name} of {schema.__name__}",
                )


registry = Registry()


def suggest(word: str, options: Iterable[str], *, prefix: str = "") -> str | None:
    """`did you mean a or b?` for the options that look like the word, or None.

    Args:
        word: What a person wrote.
        options: What there is; names that begin with "_" are nobody's to write.
        prefix: Stands before each option in the answer: "optimizer.".
    """
    import difflib

    names = [option for option in options if not option.startswith("_")]
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(prefix + name for name in near)}?" if near else None


def _set_name(schema: type[PluginConfig], name: str) -> None:
    """Make `_name` of this schema, and of no other, default to the registered name."""
    field = copy.copy(schema.__dataclass_fields__["_name"])
    field.default = name
    fields = dict(schema.__dataclass_fields__)
    fields["_name"] = field
    schema.__dataclass_fields__ = fields
    schema._name = name
    init: Any = schema.__init__
    if "__init__" not in vars(schema):  # a subclass that was not decorated again shares its parent's constructor
        raise AssertionError("checked by _check_schema")
    init.__kwdefaults__ = {**(init.__kwdefaults__ or {}), "_name": name}


def _register(kind: str, name: str, schema: type[Any], at: str | None) -> Callable[[T], T]:
    caller = sys._getframe(2)
    origin = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    if at is not None:
        module, _, attribute = at.partition(":")
        package = str(caller.f_globals.get("__package__") or "")
        address = importlib.util.resolve_name(module, package) if module.startswith(".") else module
        registry.add(Entry(kind, name, schema, f"{address}:{attribute}", origin))
        return lambda target: target

    def decorate(target: T) -> T:
        registry.add(Entry(kind, name, schema, target, origin))
        return target

    return decorate


def register_model(name: str, schema: type[Any], *, at: str | None = None) -> Callable[[T], T]:
    """Register a model: `@register_model("my_lstm", MyLSTMConfig)` above its class, built with `(config, task)`."""
    return _register("model", name, schema, at)


def register_criterion(name: str, schema: type[Any], *, at: str | None = None) -> Callable[[T], T]:
    """Register a criterion, built with `(config, task)`."""
    return _register("criterion", name, schema, at)


def register_task(name: str, schema: type[Any], *, at: str | None = None) -> Callable[[T], T]:
    """Register a task, built with `(config)`."""
    return _register("task", name, schema, at)


def register_optimizer(name: str, schema: type[Any], *, at: str | None = None) -> Callable[[T], T]:
    """Register an optimizer, built with `(config, parameters)`, a list of torch's parameter groups."""
    return _register("optimizer", name, schema, at)


def register_lr_scheduler(name: str, schema: type[Any], *, at: str | None = None) -> Callable[[T], T]:
    """Register a learning-rate schedule, built with `(config, optimizer)`."""
    return _register("lr_scheduler", name, schema, at)


def load_builtins() -> None:
    """Import the light files of the built-in plug-ins, which register them."""
    for package in KIND_PACKAGES.values():
        importlib.import_module(package)
