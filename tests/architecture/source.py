"""The source tree as the architecture tests see it: modules, their syntax trees, and what they import."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.shared import CHECKOUT

CODE_FOLDERS = ("seqtrain", "tests", "user_plugins", "benchmarks", "examples")


@dataclass(frozen=True)
class Import:
    """One imported module: `module` of line `line`."""

    module: str
    line: int


class SourceFile:
    """One Python file of the checkout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = str(path.relative_to(CHECKOUT))
        self.text = path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text, filename=str(self.path))

    @property
    def is_package(self) -> bool:
        """Whether it is the `__init__.py` of a package."""
        return self.path.name == "__init__.py"

    @property
    def module(self) -> str:
        """Its dotted name: `seqtrain.config.root`."""
        parts = self.path.relative_to(CHECKOUT).with_suffix("").parts
        return ".".join(parts[:-1] if self.is_package else parts)

    def all_imports(self) -> list[Import]:
        """Every module that is imported anywhere in the file."""
        return [found for node in ast.walk(self.tree) for found in self._imports_of(node)]

    def module_level_imports(self) -> list[Import]:
        """The modules that are imported when this one is: neither in functions nor for type checking only."""
        return [found for node in _executed_at_import(self.tree) for found in self._imports_of(node)]

    def _imports_of(self, node: ast.AST) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = self.module.split(".") if self.is_package else self.module.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield Import(submodule if is_module(submodule) else base, node.lineno)


def _executed_at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.orelse:
                yield statement
                yield from _executed_at_import(statement)
            continue
        yield child
        yield from _executed_at_import(child)


def is_module(name: str) -> bool:
    """Whether a dotted name is a module of the checkout."""
    path = CHECKOUT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def source_files(*folders: str) -> list[SourceFile]:
    """The Python files below these folders of the checkout (all that hold code, if none is named), sorted.

    Hidden folders, such as the environments that benchmarks make, hold nobody's code of ours.
    """
    return [SourceFile(path) for folder in sorted(folders or CODE_FOLDERS) for path in _python_files(CHECKOUT / folder)]


def _python_files(folder: Path) -> Iterator[Path]:
    for directory, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))  # the others are not walked
        yield from (Path(directory, name) for name in sorted(names) if name.endswith(".py"))


def yaml_files(folder: str) -> list[Path]:
    """The YAML files below a folder of the checkout, sorted."""
    return sorted((CHECKOUT / folder).rglob("*.yaml"))


def names_registered_in(folder: str, kind: str) -> list[str]:
    """The plug-in names of a kind in the files below a folder, read from their decorators without importing them."""
    return [
        ast.literal_eval(node.args[0])
        for file in source_files(folder)
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"register_{kind}"
    ]
