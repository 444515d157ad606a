"""Blocks of a corpus."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.blocks import BlockDataset, cut_blocks
from seqtrain.data.break_mode import BreakMode
from seqtrain.data.tokens import TokenTable

SENTENCES = [[11, 12, 2], [13, 2], [2], [14, 15, 16, 17, 18, 2], [19, 2]]
CORPORA = st.lists(st.lists(st.integers(4, 99), max_size=9).map(lambda tokens: [*tokens, 2]), max_size=12)


def blocks_of(sentences: list[list[int]], mode: BreakMode, size: int) -> list[list[int]]:
    table = TokenTable.from_lists(sentences)
    starts, lengths = cut_blocks(table.offsets, mode, size)
    return [table.tokens[start : start + length].tolist() for start, length in zip(starts, lengths, strict=True)]


@pytest.mark.parametrize(
    ("mode", "blocks"),
    [
        (BreakMode.none, [[11, 12, 2, 13], [2, 2, 14, 15], [16, 17, 18, 2], [19, 2]]),
        (BreakMode.complete, [[11, 12, 2], [13, 2, 2], [14, 15, 16, 17, 18, 2], [19, 2]]),
        (BreakMode.complete_doc, [[11, 12, 2], [13, 2], [14, 15, 16, 17, 18, 2], [19, 2]]),
        (BreakMode.eos, SENTENCES),
    ],
)
def test_a_corpus_by_hand(mode: BreakMode, blocks: list[list[int]]) -> None:
    assert blocks_of(SENTENCES, mode, 4) == blocks


def greedy(sentences: list[list[int]], size: int) -> list[list[int]]:
    """Whole sentences as long as they fit, by the definition."""
    blocks: list[list[int]] = []
    block: list[int] = []
    for sentence in sentences:
        if block and len(block) + len(sentence) > size:
            blocks.append(block)
            block = []
        block = block + sentence
    return [*blocks, block] if block else blocks


@settings(max_examples=100, deadline=None)
@given(sentences=CORPORA, size=st.integers(1, 12))
def test_complete_blocks_are_filled_greedily(sentences: list[list[int]], size: int) -> None:
    assert blocks_of(sentences, BreakMode.complete, size) == greedy(sentences, size)


@settings(max_examples=100, deadline=None)
@given(sentences=CORPORA, size=st.integers(1, 12))
def test_documents_are_cut_apart(sentences: list[list[int]], size: int) -> None:
    documents: list[list[list[int]]] = [[]]
    for sentence in sentences:
        if sentence == [2]:
            documents.append([])
        else:
            documents[-1].append(sentence)
    expected = [block for document in documents for block in greedy(document, size)]
    assert blocks_of(sentences, BreakMode.complete_doc, size) == expected


@settings(max_examples=60, deadline=None)
@given(sentences=CORPORA, mode=st.sampled_from([BreakMode.none, BreakMode.complete, BreakMode.eos]))
def test_no_token_is_lost(sentences: list[list[int]], mode: BreakMode) -> None:
    blocks = blocks_of(sentences, mode, 5)
    assert [token for block in blocks for token in block] == [token for sentence in sentences for token in sentence]


def test_the_input_is_the_token_before_across_the_beginning_of_a_block() -> None:
    dataset = BlockDataset(TokenTable.from_lists(SENTENCES), BreakMode.none, 4, first_token=7)
    assert dataset.lengths.tolist() == [[0, 4], [0, 4], [0, 4], [0, 2]]
    batch = dataset.collate(np.array([3, 1, 0]))
    assert batch.ids.tolist() == [3, 1, 0]
    assert batch.targets.tolist() == [[19, 2, 1, 1], [2, 2, 14, 15], [11, 12, 2, 13]]
    assert batch.previous_tokens.tolist() == [[2, 19, 1, 1], [13, 2, 2, 14], [7, 11, 12, 2]]
    assert batch.source_tokens is None


def test_a_part_of_a_corpus_does_not_see_what_stands_before_it() -> None:
    corpus = TokenTable.from_lists(SENTENCES).part(1, 5)
    batch = BlockDataset(corpus, BreakMode.none, 4).collate(np.array([0]))
    assert batch.targets.tolist() == [[13, 2, 2, 14]]
    assert batch.previous_tokens.tolist() == [[2, 13, 2, 2]]


def test_an_empty_corpus_has_no_blocks() -> None:
    for mode in BreakMode:
        assert len(BlockDataset(TokenTable.from_lists([]), mode, 4)) == 0


def test_the_fingerprint_depends_on_corpus_and_cut() -> None:
    corpus = TokenTable.from_lists(SENTENCES)
    datasets = [
        BlockDataset(corpus, BreakMode.none, 4),
        BlockDataset(corpus, BreakMode.none, 5),
        BlockDataset(corpus, BreakMode.eos, 4),
        BlockDataset(corpus.part(0, 4), BreakMode.none, 4),
    ]
    assert len({dataset.fingerprint for dataset in datasets}) == 4
