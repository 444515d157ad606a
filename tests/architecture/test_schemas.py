"""Every setting says what it means, and no YAML file hides a schema."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap

import pytest

from seqtrain.config import root
from seqtrain.config.registry import KINDS, load_builtins, registry
from seqtrain.config.schema import Section
from tests.architecture.source import names_registered_in, yaml_files
from tests.shared import CHECKOUT

load_builtins()

ROOTS_AND_SECTIONS = [
    value
    for value in vars(root).values()
    if isinstance(value, type) and issubclass(value, Section) and value != Section
]


def built_in_schemas() -> list[type]:
    """The schemas of the built-in plug-ins and of their kinds' bases."""
    return [registry.get(kind, name).schema for kind in KINDS for name in registry.names(kind)]


def fields_without_docstring(schema: type) -> list[str]:
    """The fields that a dataclass declares itself without a text below; a nested section speaks for itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(schema))).body[0]
    assert isinstance(tree, ast.ClassDef)
    documented = {
        statement.target.id
        for statement, following in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }
    return [
        f"{schema.__qualname__}.{field.name}"
        for field in dataclasses.fields(schema)
        if field.name in vars(schema).get("__annotations__", {})
        and field.name not in documented
        and field.default_factory not in ROOTS_AND_SECTIONS
    ]


def test_every_field_of_a_section_has_a_docstring() -> None:
    assert [name for schema in ROOTS_AND_SECTIONS for name in fields_without_docstring(schema)] == []


def test_every_field_of_a_built_in_plugin_has_a_docstring() -> None:
    ancestry = {base for schema in built_in_schemas() for base in schema.__mro__ if dataclasses.is_dataclass(base)}
    assert sorted(name for schema in ancestry for name in fields_without_docstring(schema)) == []


def test_every_built_in_plugin_says_in_one_line_what_it_is() -> None:
    silent = [
        f"{kind}={name}"
        for kind in KINDS
        for name in registry.names(kind)
        if not registry.get(kind, name).summary.endswith((".", "]", ")"))
    ]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_preset_is_called_like_a_schema(kind: str) -> None:
    schemas = {*registry.names(kind), *names_registered_in("user_plugins", kind)}
    presets = [*yaml_files(f"conf/{kind}"), *yaml_files(f"user_plugins/conf/{kind}")]
    assert [str(path.relative_to(CHECKOUT)) for path in presets if path.stem in schemas] == []
