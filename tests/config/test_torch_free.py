"""Composing a config and showing it needs no torch, which alone costs seconds, and little else that Hydra does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.shared import CHECKOUT

SCRIPT = """
import importlib, sys
module, *arguments = sys.argv[1:]
sys.argv = ["seqtrain", *arguments]
try:
    importlib.import_module(module).main()
except SystemExit as left:
    assert not left.code, left.code
print("heavy:", *sorted({"torch", "sentencepiece", "sacrebleu", "safetensors"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "words",
    [
        ("seqtrain.train", "--cfg", "job"),
        ("seqtrain.train", "--help"),
        ("seqtrain.train", "--check", "task.data=x", "task.source_lang=en", "task.target_lang=de"),
        ("seqtrain.generate", "--cfg", "job"),
        ("seqtrain.verify", "data", "my_text", "--cfg", "job"),
        ("seqtrain.verify", "--help"),
        ("seqtrain.plugins", "model=transformer"),
        ("seqtrain.plugins",),
    ],
    ids=" ".join,
)
def test_no_torch(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


IMPORTED = """
import runpy, sys
program, *sys.argv = sys.argv[1:], *sys.argv[1:]
try:
    if program[0].endswith(".py"):
        runpy.run_path(program[0], run_name="__main__")
    else:
        runpy.run_module(program[0], run_name="__main__")
except SystemExit as left:
    assert not left.code, left.code
print("imported:", *sys.modules)
"""


def imported(*words: str) -> set[str]:
    """The modules that a program imports."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words], capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("imported:")[2].split())


@pytest.mark.parametrize("flags", [("--cfg", "job"), ("--help",)], ids=" ".join)
def test_showing_a_config_imports_hardly_more_than_hydra_itself(flags: tuple[str, ...]) -> None:
    bare = imported("benchmarks/bare_application.py", "--cfg", "job")
    more = imported("seqtrain.train", *flags) - bare
    foreign = {name.partition(".")[0] for name in more} - {"seqtrain", "hydra"} - sys.stdlib_module_names
    assert foreign == set()
    assert more & {"numpy", "rich", "email", "difflib", "importlib.metadata", "multiprocessing", "ctypes"} == set()
    assert len(more) < 90  # each file costs a millisecond or so


def test_a_config_is_made_of_the_schemas_that_are_chosen_alone() -> None:
    script = """
from collections import Counter
import omegaconf
from omegaconf import OmegaConf
made, structured = Counter(), OmegaConf.structured
def count(schema, *rest, **named):
    if isinstance(schema, type) and schema.__module__.startswith("seqtrain."):
        made[schema.__module__.split(".")[1]] += 1
    return structured(schema, *rest, **named)
OmegaConf.structured = count
import runpy, sys
sys.argv = ["train", "--cfg", "job"]
try:
    runpy.run_module("seqtrain.train", run_name="__main__")
finally:
    print("made:", *sorted(f"{kind}={number}" for kind, number in made.items()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert done.returncode == 0, done.stderr
    made = done.stdout.splitlines()[-1].split()
    assert made == ["made:", "config=1", "criterions=1", "lr_schedulers=1", "models=1", "optimizers=1", "tasks=1"]
