"""Sequences in a row."""

from __future__ import annotations

import numpy as np

from seqtrain.data.tokens import TokenTable, row_positions


def test_lists_become_a_table() -> None:
    table = TokenTable.from_lists([[4, 2], [], [5, 6, 2]])
    assert len(table) == 3
    assert table.lengths.tolist() == [2, 0, 3]
    assert [table[number].tolist() for number in range(3)] == [[4, 2], [], [5, 6, 2]]


def test_a_part_shares_the_tokens() -> None:
    table = TokenTable.from_lists([[4, 2], [7, 2], [5, 6, 2]])
    part = table.part(1, 3)
    assert [part[number].tolist() for number in range(len(part))] == [[7, 2], [5, 6, 2]]
    assert part.tokens is table.tokens


def test_equal_tables_have_equal_fingerprints_whatever_their_number_type() -> None:
    table = TokenTable.from_lists([[4, 2], [5]])
    narrow = TokenTable(table.tokens.astype(np.uint16), table.offsets)
    shifted = TokenTable(np.concatenate([[9], table.tokens]), table.offsets + 1)
    assert table.fingerprint == narrow.fingerprint == shifted.fingerprint


def test_other_tables_have_other_fingerprints() -> None:
    lists = ([[4, 2], [5]], [[4], [2, 5]], [[4, 2], [6]], [[4, 2, 5]])
    tables = [TokenTable.from_lists(sequences) for sequences in lists]
    assert len({table.fingerprint for table in (*tables, tables[0].part(0, 1), tables[0].part(1, 2))}) == 6


def test_a_known_fingerprint_is_not_computed_again() -> None:
    table = TokenTable.from_lists([[4]])
    assert TokenTable(table.tokens, table.offsets, fingerprint="known").fingerprint == "known"


def test_positions_of_rows_follow_the_starts() -> None:
    assert row_positions(np.array([7, 0, 3]), np.array([2, 3, 0])).tolist() == [7, 8, 0, 1, 2]
    empty = np.empty(0, dtype=np.int64)
    assert row_positions(empty, empty).tolist() == []
