"""A file says one thing in at most 400 lines; a function fits a screen of 60."""

from __future__ import annotations

import ast

from tests.architecture.source import source_files

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {file.label: len(file.text.splitlines()) for file in source_files()}
    assert {label: length for label, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long_functions = [
        f"{file.label}:{node.lineno} {node.name} ({length} lines)"
        for file in source_files()
        for node in ast.walk(file.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert long_functions == []
