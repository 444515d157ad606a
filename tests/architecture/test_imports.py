"""Imports point one way: commands, assemble, engines, plug-ins, nn and data, bases of the kinds, config."""

from __future__ import annotations

import graphlib
import subprocess
import sys

import pytest

from tests.architecture.source import SourceFile, is_module, source_files

KIND_PACKAGES = ("models", "criterions", "tasks", "optimizers", "lr_schedulers")
KIND_BASES = {"base", "models.schema"}

FOUNDATION, BASES, LIBRARIES, PLUGINS, ENGINES, ASSEMBLY, VERIFICATION, COMMANDS = range(8)

PACKAGE_LEVELS = {
    "errors": FOUNDATION,
    "config": FOUNDATION,
    "console": FOUNDATION,
    "files": FOUNDATION,
    "nn": LIBRARIES,
    "data": LIBRARIES,
    "training": ENGINES,
    "generation": ENGINES,
    "evaluation": ENGINES,
    "assemble": ASSEMBLY,
    "testing": ASSEMBLY,
    "verification": VERIFICATION,  # uses all of seqtrain, as a command does, in more files than one
}


def place(module: str) -> tuple[int, str]:
    """The level of a seqtrain module, and the component of that level to which it belongs."""
    parts = module.split(".")[1:]
    if not parts:
        return FOUNDATION, "seqtrain"
    if parts[0] in KIND_PACKAGES:
        is_base = len(parts) == 1 or not KIND_BASES.isdisjoint({parts[1], ".".join(parts)})
        return (BASES if is_base else PLUGINS), parts[0]
    return PACKAGE_LEVELS.get(parts[0], COMMANDS), parts[0]


def imports_of_own_code(file: SourceFile) -> list[tuple[str, int]]:
    """The seqtrain modules that a file imports at module level, with their lines.

    A package's `__init__` that imports its own modules is a table of contents, not an arrow.
    """
    return [
        (found.module, found.line)
        for found in file.module_level_imports()
        if found.module.split(".")[0] == "seqtrain"
        and not (file.is_package and found.module.startswith(f"{file.module}."))
        and found.module != file.module
    ]


def wrong_arrow(importer: str, imported: str) -> bool:
    """Whether an import points up, or sideways to a sibling component."""
    level, component = place(importer)
    imported_level, imported_component = place(imported)
    return imported_level > level or (
        imported_level == level and imported_component != component and level > FOUNDATION
    )


def test_every_module_level_import_points_down() -> None:
    wrong = [
        f"{file.label}:{line} imports {imported}"
        for file in source_files("seqtrain")
        for imported, line in imports_of_own_code(file)
        if wrong_arrow(file.module, imported)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("seqtrain.training.loop", "seqtrain.generation.beam_search"),
        ("seqtrain.models.transformer.model", "seqtrain.tasks.translation"),
        ("seqtrain.nn.attention", "seqtrain.data.batch"),
        ("seqtrain.models.base", "seqtrain.nn.attention"),
        ("seqtrain.config.root", "seqtrain.models.schema"),
        ("seqtrain.assemble", "seqtrain.train"),
        ("seqtrain.assemble", "seqtrain.verification.resume"),
        ("seqtrain.generate", "seqtrain.train"),
    ],
)
def test_an_arrow_that_points_up_or_sideways_is_found(importer: str, imported: str) -> None:
    assert wrong_arrow(importer, imported)


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = {
        file.module: {imported for imported, _ in imports_of_own_code(file) if is_module(imported)}
        for file in source_files("seqtrain")
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_hydra_and_omegaconf_are_imported_in_the_config_package_only() -> None:
    foreign = [
        f"{file.label}:{found.line} imports {found.module}"
        for file in source_files("seqtrain")
        if not file.module.startswith("seqtrain.config")
        for found in file.all_imports()
        if found.module.split(".")[0] in {"hydra", "omegaconf"}
    ]
    assert foreign == []


def test_composing_a_config_imports_neither_torch_nor_the_tokenizers() -> None:
    script = (
        "import sys, seqtrain.config.root\n"
        "from seqtrain.config.registry import load_builtins\n"
        "load_builtins()\n"
        "print(*sorted({'torch', 'sentencepiece', 'sacrebleu', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
