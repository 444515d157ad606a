"""Which plug-ins a Python file registers, read from its syntax tree: the file is not run.

So a folder of plug-ins can be listed, completed and searched although some of its files import torch, take long, or do
not even work.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seqtrain.config.docs import summary
from seqtrain.config.registry import KINDS

_FUNCTIONS = {f"register_{kind}": kind for kind in KINDS}


@dataclass(frozen=True)
class Declaration:
    """One plug-in that a file registers.

    Attributes:
        kind: One of the five kinds.
        name: Its `_name`.
        file: The file that registers it.
        line: Where in the file.
        doc: The first line of its schema's docstring, if the schema stands in the same file.
    """

    kind: str
    name: str
    file: Path
    line: int
    doc: str

    @property
    def place(self) -> str:
        """The place for messages: file:line."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class FileContents:
    """What a file registers.

    Attributes:
        declarations: The plug-ins whose names are written out.
        is_dynamic: Whether there are others, whose names only running it will tell.
        error: Why it cannot be parsed; None if it can.
    """

    declarations: tuple[Declaration, ...] = ()
    is_dynamic: bool = False
    error: str | None = None


def read_declarations(file: Path) -> FileContents:
    """What a file registers; it is parsed once, until it changes."""
    status = file.stat()
    version = (file, status.st_mtime_ns, status.st_size)
    if version not in _contents:
        _contents[version] = _parse(file)
    return _contents[version]


_contents: dict[tuple[Path, int, int], FileContents] = {}


def _parse(file: Path) -> FileContents:
    try:
        source = file.read_bytes()
    except OSError as error:
        return FileContents(error=f"{file} cannot be read: {error.strerror}")
    if b"register_" not in source:
        return FileContents()
    try:
        tree = ast.parse(source, filename=str(file))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return FileContents(error=f"{file}:{line or 1}: {type(error).__name__}: {getattr(error, 'msg', error)}")
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.ImportFrom | ast.Call)]
    schema_docs = {node.name: summary(ast.get_docstring(node)) for node in nodes if isinstance(node, ast.ClassDef)}
    declarations: list[Declaration] = []
    is_dynamic = False
    for call, kind in _registrations(nodes):
        name = _argument(call, 0, "name")
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            schema = _argument(call, 1, "schema")
            doc = schema_docs.get(schema.id, "") if isinstance(schema, ast.Name) else ""
            declarations.append(Declaration(kind, name.value, file, call.lineno, doc))
        else:
            is_dynamic = True
    return FileContents(tuple(declarations), is_dynamic)


def _registrations(nodes: list[ast.ClassDef | ast.ImportFrom | ast.Call]) -> Iterator[tuple[ast.Call, str]]:
    """The calls of register functions, under whatever name they were imported, with their kinds."""
    functions = dict(_FUNCTIONS)
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            functions |= {
                alias.asname: _FUNCTIONS[alias.name]
                for alias in node.names
                if alias.asname and alias.name in _FUNCTIONS
            }
    for node in nodes:
        if isinstance(node, ast.Call):
            function, kind = node.func, None
            if isinstance(function, ast.Name):
                kind = functions.get(function.id)
            elif isinstance(function, ast.Attribute):
                kind = _FUNCTIONS.get(function.attr)
            if kind is not None:
                yield node, kind


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
