"""How a corpus is cut into the blocks that a language model learns from."""

from __future__ import annotations

from enum import Enum


class BreakMode(Enum):
    """Where a block may end.

    none: Anywhere: all blocks have the same number of tokens, but the last.
    complete: Behind a sentence: a block holds as many whole ones as fit (a longer one is a block by itself).
    complete_doc: The same, and no block reaches over an empty line, which separates documents.
    eos: Each sentence is a block.
    """

    none = "none"
    complete = "complete"
    complete_doc = "complete_doc"
    eos = "eos"
