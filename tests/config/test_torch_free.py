"""Composing a config and showing it needs no torch, which alone costs seconds."""

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
