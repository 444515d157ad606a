"""Reading the project's documents."""

from __future__ import annotations

import re
from pathlib import Path

from tests.shared import CHECKOUT

DOCUMENTS = [
    CHECKOUT / "README.md",
    CHECKOUT / "user_plugins" / "README.md",
    *sorted((CHECKOUT / "docs").rglob("*.md")),
]


def label(document: Path) -> str:
    """How a document is called in the name of a test."""
    return str(document.relative_to(CHECKOUT))


def fenced_blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language ("" for those that name none), in order."""
    parts = re.split(r"^```(.*)$\n?", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    opened = parts[1::4]  # text, language, block, closing fence, text, language, ...
    blocks = parts[2::4]
    return [block for name, block in zip(opened, blocks, strict=True) if name == language]


def local_links(document: Path) -> list[str]:
    """The targets of a document's links to files."""
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    return [target for target in targets if "://" not in target]
