"""Vocabularies and their files."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.data.vocabulary import SPECIAL_SYMBOLS, Vocabulary
from seqtrain.errors import DataError

SYMBOLS = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=5)


def load(tmp_path: Path, content: bytes) -> Vocabulary:
    path = tmp_path / "dict.txt"
    path.write_bytes(content)
    return Vocabulary.load(path)


def test_the_special_symbols_come_first() -> None:
    vocabulary = Vocabulary(["house"], [42])
    assert (vocabulary.bos, vocabulary.pad, vocabulary.eos, vocabulary.unk) == (0, 1, 2, 3)
    assert [vocabulary.symbol(number) for number in range(5)] == [*SPECIAL_SYMBOLS, "house"]
    assert vocabulary.counts[4] == 42
    assert len(vocabulary) == 5


def test_an_unknown_symbol_has_the_number_of_unk() -> None:
    vocabulary = Vocabulary(["house"])
    assert vocabulary.index("house") == 4
    assert vocabulary.index("tree") == vocabulary.unk
    assert "house" in vocabulary
    assert "tree" not in vocabulary


def test_a_sentence_ends_with_eos_unless_it_is_unwanted() -> None:
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.encode(["b", "x", "a"]).tolist() == [5, 3, 4, 2]
    assert vocabulary.encode(["b"], append_eos=False).tolist() == [5]
    assert vocabulary.encode([]).tolist() == [2]
    assert vocabulary.encode(["a"]).dtype == np.int64


def test_text_that_spells_special_symbols_neither_ends_nor_pads_a_sentence() -> None:
    assert Vocabulary(["a"]).encode(["</s>", "<pad>", "<s>", "<unk>", "a"]).tolist() == [3, 3, 3, 3, 4, 2]


def test_the_most_frequent_come_first_and_ties_in_alphabetical_order() -> None:
    vocabulary = Vocabulary.build({"b": 2, "c": 2, "a": 1, "d": 9}, padding_factor=1)
    assert vocabulary.symbols[4:] == ("d", "b", "c", "a")
    assert vocabulary.counts[4:] == (9, 2, 2, 1)


def test_rare_symbols_and_those_beyond_the_limit_are_left_out() -> None:
    counts = {"a": 5, "b": 4, "c": 3, "d": 1}
    assert Vocabulary.build(counts, threshold=3, padding_factor=1).symbols[4:] == ("a", "b", "c")
    assert Vocabulary.build(counts, num_words=6, padding_factor=1).symbols[4:] == ("a", "b")
    assert Vocabulary.build(counts, num_words=2, padding_factor=1).symbols[4:] == ()


def test_the_size_is_filled_up_to_a_multiple() -> None:
    vocabulary = Vocabulary.build({"a": 1})
    assert vocabulary.symbols[4:] == ("a", "madeupword0000", "madeupword0001", "madeupword0002")
    assert vocabulary.counts[5:] == (0, 0, 0)


def test_special_symbols_in_the_text_get_no_second_number() -> None:
    assert Vocabulary.build({"<unk>": 7, "a": 1}, padding_factor=1).symbols == (*SPECIAL_SYMBOLS, "a")


def test_a_symbol_may_be_or_contain_a_space(tmp_path: Path) -> None:
    vocabulary = load(tmp_path, b"  7\nNew York 3\n")
    assert vocabulary.symbols[4:] == (" ", "New York")
    assert vocabulary.counts[4:] == (7, 3)


def test_lines_end_at_the_line_feed_alone(tmp_path: Path) -> None:
    vocabulary = load(tmp_path, "a\u2028b 1\n\x85 2\n\r 3\n".encode())
    assert vocabulary.symbols[4:] == ("a\u2028b", "\x85", "\r")


def test_the_last_line_need_not_end(tmp_path: Path) -> None:
    assert load(tmp_path, b"a 1\nb 2").symbols[4:] == ("a", "b")


def test_a_marked_line_gives_a_symbol_another_number(tmp_path: Path) -> None:
    content = b"a 1\n<pad> 5 #fairseq:overwrite\na 3 #fairseq:overwrite\n"
    vocabulary = load(tmp_path, content)
    assert vocabulary.index("a") == 6
    assert vocabulary.index("<pad>") == 5
    assert vocabulary.pad == 1
    vocabulary.save(tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "place", "fault"),
    [
        (b"a 1\nb\n", ":2:", "expected a symbol, a space and its count, but found 'b'"),
        (b"a 1\n\nb 2\n", ":2:", "expected a symbol"),
        (b"", ":1:", "expected a symbol"),
        (b"a x\n", ":1:", "expected a symbol"),
        (b"a -1\n", ":1:", "expected a symbol"),
        ("a \u0663\n".encode(), ":1:", "expected a symbol"),
        (b" 5\n", ":1:", "expected a symbol"),
        (b"a 1\nb 2\na 3\n", ":3:", r"'a' is there already \(first in line 1\)"),
        (b"<unk> 3\n", ":1:", r"'<unk>' is there already \(a special symbol\)"),
        (b"a 1\n\xff 2\n", ":2:", "no valid UTF-8"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, content: bytes, place: str, fault: str) -> None:
    with pytest.raises(DataError, match=f"dict.txt{place} .*{fault}"):
        load(tmp_path, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dict\.txt: cannot be read: No such file"):
        Vocabulary.load(tmp_path / "dict.txt")


@settings(max_examples=60, deadline=None)
@given(counts=st.dictionaries(SYMBOLS, st.integers(1, 10**12), max_size=20))
def test_what_is_saved_is_loaded(counts: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> None:
    vocabulary = Vocabulary.build(counts)
    path = tmp_path_factory.mktemp("vocabulary") / "dict.txt"
    vocabulary.save(path)
    again = Vocabulary.load(path)
    assert again.symbols == vocabulary.symbols
    assert again.counts == vocabulary.counts
    assert again.fingerprint == vocabulary.fingerprint


@settings(max_examples=60, deadline=None)
@given(words=st.lists(st.sampled_from("abcdefgh"), min_size=1))
def test_building_agrees_with_sorting_the_counts_by_hand(words: list[str]) -> None:
    counts = Counter(words)
    vocabulary = Vocabulary.build(counts)
    expected = sorted(counts, key=lambda word: (-counts[word], word))
    assert list(vocabulary.symbols[4 : 4 + len(counts)]) == expected
    assert len(vocabulary) % 8 == 0
    assert len(vocabulary) - 4 - len(counts) < 8


def test_the_fingerprint_depends_on_symbols_and_their_order() -> None:
    fingerprints = {Vocabulary(symbols).fingerprint for symbols in (["a", "b"], ["b", "a"], ["a"], ["a b"])}
    assert len(fingerprints) == 4
    assert Vocabulary(["a"], [1]).fingerprint == Vocabulary(["a"], [2]).fingerprint


def test_building_makes_no_objects_for_the_garbage_collector_to_look_through() -> None:
    counts = {f"symbol{number}": number for number in range(50_000)}
    collections = []

    def note(phase: str, details: dict[str, int]) -> None:
        collections.append((phase, details["generation"]))

    gc.collect()
    gc.callbacks.append(note)
    try:
        vocabulary = Vocabulary.build(counts)
    finally:
        gc.callbacks.remove(note)
    assert len(vocabulary) == 50_008
    assert len(collections) <= 2  # the beginning and the end of one, for what this test made itself
