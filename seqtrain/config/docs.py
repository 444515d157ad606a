"""What the docstrings of a schema say about it, read from its source."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterable


def field_docs(schema: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, those of its bases included, in one line."""
    docs: dict[str, str] = {}
    for base in reversed(schema.__mro__):
        if "__dataclass_fields__" in vars(base):
            docs |= _docs_of_body(_body(base))
    return docs


def summary(docstring: str | None) -> str:
    """The first line of a docstring."""
    lines = (docstring or "").strip().splitlines()
    return lines[0].strip() if lines else ""


def _body(schema: type) -> Iterable[ast.stmt]:
    try:
        source = textwrap.dedent(inspect.getsource(schema))
    except (OSError, TypeError):  # made at run time, or its file is gone: there is nothing to read
        return []
    statement = ast.parse(source).body[0]
    return statement.body if isinstance(statement, ast.ClassDef) else []


def _docs_of_body(body: Iterable[ast.stmt]) -> dict[str, str]:
    statements = list(body)
    docs: dict[str, str] = {}
    for declaration, text in itertools.pairwise(statements):
        if (
            isinstance(declaration, ast.AnnAssign)
            and isinstance(declaration.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            docs[declaration.target.id] = " ".join(text.value.value.split())
    return docs
