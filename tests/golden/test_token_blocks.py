"""Blocks of a language model's corpus against those that fairseq cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seqtrain.data.blocks import cut_blocks
from seqtrain.data.break_mode import BreakMode
from seqtrain.data.tokens import TokenTable
from tests.shared import shared

CASES: list[dict[str, Any]] = json.loads((shared("golden/fairseq") / "token_blocks.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["break_mode"])
def test_sentences_are_cut_into_the_same_blocks(case: dict[str, Any]) -> None:
    corpus = TokenTable.from_lists(case["sentences"])
    starts, lengths = cut_blocks(corpus.offsets, BreakMode[case["break_mode"]], case["block_size"] or 1)
    blocks = [corpus.tokens[start : start + length].tolist() for start, length in zip(starts, lengths, strict=True)]
    assert blocks == case["blocks"]
