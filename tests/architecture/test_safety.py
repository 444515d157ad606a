"""No file of a user can run code by being read: no pickle, no eval, no unsafe loader, no `_target_`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.source import SourceFile, source_files, yaml_files

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
UNSAFE_BUILTINS = {"eval", "exec", "compile", "__import__"}
UNSAFE_YAML = {"load", "load_all", "full_load", "unsafe_load"}


def unsafe_places(file: SourceFile) -> Iterator[str]:
    """The lines of a file that could run what they read."""
    for found in file.all_imports():
        if found.module.split(".")[0] in UNSAFE_MODULES:
            yield f"{file.label}:{found.line} imports {found.module}"
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and is_unsafe_call(node):
            yield f"{file.label}:{node.lineno} calls {ast.unparse(node)}"


def is_unsafe_call(node: ast.Call) -> bool:
    """Whether a call runs text as code, or may unpickle."""
    name = ast.unparse(node.func)
    options = {keyword.arg: keyword.value for keyword in node.keywords}
    module, _, function = name.rpartition(".")
    if name in {"torch.load"}:
        weights_only = options.get("weights_only")
        return not (isinstance(weights_only, ast.Constant) and weights_only.value is True)
    if name in {"np.load", "numpy.load"}:
        return "allow_pickle" in options
    return name in UNSAFE_BUILTINS or (module == "yaml" and function in UNSAFE_YAML)


def test_no_code_of_seqtrain_can_run_what_it_reads() -> None:
    assert [place for file in source_files("seqtrain", "user_plugins") for place in unsafe_places(file)] == []


def test_no_config_names_code_to_call() -> None:
    named = [
        str(path)
        for folder in ("conf", "user_plugins")
        for path in yaml_files(folder)
        if re.search(r"\b_target_\s*:|!!python", path.read_text(encoding="utf-8"))
    ]
    assert named == []


def test_no_code_instantiates_what_a_config_names() -> None:
    calls = [
        f"{file.label}:{node.lineno}"
        for file in source_files("seqtrain", "user_plugins")
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"instantiate", "get_class"}
    ]
    assert calls == []


def test_there_is_exactly_one_hydra_main() -> None:
    uses = [
        f"{file.label}:{node.lineno}"
        for file in source_files("seqtrain", "user_plugins")  # benchmarks compare seqtrain with another application
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "hydra.main"
    ]
    assert len(uses) == 1, uses
