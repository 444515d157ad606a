"""Every seqtrain command of the documents is one that works: its config composes and passes its checks."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.markdown import DOCUMENTS, fenced_blocks, label, local_links
from tests.shared import CHECKOUT

# Words that make a command need a run that is there; what they do is tested elsewhere.
NEED_A_RUN = {"--rerun", "--resume", "checkpoint"}


def commands(document: Path) -> list[str]:
    """The arguments of each `python -m seqtrain.X` of a document, pipes and environment variables taken away."""
    lines = "".join(fenced_blocks(document, "")).replace("\\\n", " ").splitlines()
    found = (re.search(r"(?:python|torchrun .*) -m (seqtrain\..*)", line) for line in lines)
    texts = [match.group(1).partition(" #")[0].partition(" > ")[0].strip() for match in found if match is not None]
    return [text for text in texts if not NEED_A_RUN.intersection(shlex.split(text))]


def checked(arguments: list[str]) -> list[str]:
    """The command, told to check its config and stop."""
    module, *words = arguments
    if words[:1] == ["resume"]:  # python -m seqtrain.verify resume, which hands its overrides to another command
        module, words = "seqtrain.train", [word for word in words if "=" in word]
    stops = module == "seqtrain.plugins" or {"--help", "--cfg", "--check"}.intersection(words)
    return [module, *words, *([] if stops else ["--check"])]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with the plug-ins that the documents name."""
    plugins = tmp_path / "path" / "to" / "my_plugins"
    plugins.mkdir(parents=True)
    own = tmp_path / "user_plugins"
    shutil.copytree(CHECKOUT / "user_plugins", own)
    example = (own / "my_lstm.py").read_text(encoding="utf-8")
    (plugins / "my_model.py").write_text(example.replace("my_lstm", "my_model"), encoding="utf-8")
    (own / "our_lstm.py").write_text(example.replace("my_lstm", "our_lstm"), encoding="utf-8")
    (own / "my_schedule.py").write_text(fenced_blocks(CHECKOUT / "README.md", "python")[0], encoding="utf-8")
    return tmp_path


COMMANDS = dict.fromkeys(text for document in DOCUMENTS for text in commands(document))


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_of_the_documents_composes(text: str, folder: Path) -> None:
    command = [sys.executable, "-m", *checked(shlex.split(text))]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "SEQTRAIN_USER_DIR": "path/to/my_plugins"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr


def test_the_documents_have_commands() -> None:
    assert len(commands(CHECKOUT / "README.md")) > 20


def test_both_tables_of_fairseqs_names_are_the_same() -> None:
    tables = [
        [line for line in (CHECKOUT / name).read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
        for name in ("README.md", "docs/fairseq.md")
    ]
    assert [row for row in tables[0] if row in tables[1]] == tables[1]


def test_the_plugin_of_the_readme_has_20_lines_of_code() -> None:
    lines = fenced_blocks(CHECKOUT / "README.md", "python")[0].splitlines()
    assert len([line for line in lines if line.strip()]) <= 20


@pytest.mark.parametrize("document", DOCUMENTS, ids=label)
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    assert [target for target in local_links(document) if not (document.parent / target).exists()] == []
