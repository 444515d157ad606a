"""Merges of many words at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.tokenizers.merging import Merges

MERGES = ["a b", "ab a</w>", "b a", "c c</w>", "a a", "aa b", "aa aa", "a b</w>", "< /", "a a</w>"]
SEPARATE = ["a b", "ab a", "aba </w>", "c </w>", "b a", "a a", "aa </w>"]
WORDS = st.lists(st.text("abcä</w>\N{GRINNING FACE}", min_size=1, max_size=9), max_size=12)


def table(lines: list[str]) -> dict[tuple[str, str], int]:
    pairs = (line.split(" ") for line in lines)
    return {(left, right): rank for rank, (left, right) in enumerate(pairs)}


def cut_by_definition(word: str, ranks: dict[tuple[str, str], int], *, separate_end: bool) -> list[str]:
    """One word: join the pair that was learned first, wherever it is, from left to right; again until there is none."""
    pieces = [*word, "</w>"] if separate_end else [*word[:-1], word[-1] + "</w>"]
    while pairs := [pair for pair in pairwise(pieces) if pair in ranks]:
        best = min(pairs, key=ranks.__getitem__)
        joined, position = [], 0
        while position < len(pieces):
            is_pair = tuple(pieces[position : position + 2]) == best
            joined.append("".join(best) if is_pair else pieces[position])
            position += 1 + is_pair
        pieces = joined
    if pieces[-1] == "</w>":
        return pieces[:-1]
    return [*pieces[:-1], pieces[-1].removesuffix("</w>")]


def spelled(merges: Merges, words: list[str]) -> list[list[str]]:
    pieces, counts = merges.cut(words)
    ends = np.cumsum(counts)
    return [
        [merges.spelling(int(pieces[place]), is_last=place == end - 1) for place in range(end - count, end)]
        for end, count in zip(ends.tolist(), counts.tolist(), strict=True)
    ]


@pytest.mark.parametrize(("lines", "separate_end"), [(MERGES, False), (SEPARATE, True), ([], False), ([], True)])
@settings(max_examples=200, deadline=None)
@given(words=WORDS)
def test_all_words_at_once_are_cut_as_each_by_itself(lines: list[str], separate_end: bool, words: list[str]) -> None:
    ranks = table(lines)
    expected = [cut_by_definition(word, ranks, separate_end=separate_end) for word in words]
    assert spelled(Merges(ranks, separate_end=separate_end), words) == expected


def test_pairs_that_overlap_are_joined_from_the_left() -> None:
    assert spelled(Merges(table(["a a"]), separate_end=False), ["aaaaab", "aaab"]) == [
        ["aa", "aa", "a", "b"],
        ["aa", "a", "b"],
    ]
