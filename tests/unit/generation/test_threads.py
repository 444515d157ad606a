"""Work side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from seqtrain.generation.threads import side_by_side


def test_results_come_in_the_order_of_the_pieces() -> None:
    second_is_done = threading.Event()

    def work(piece: int) -> int:
        if piece == 0:
            assert second_is_done.wait(timeout=30)
        if piece == 1:
            second_is_done.set()
        return piece * piece

    assert list(side_by_side(work, iter(range(9)), num_threads=2)) == [number**2 for number in range(9)]


def test_each_thread_computes_with_one_of_torchs() -> None:
    before = torch.get_num_threads()
    counts = list(side_by_side(lambda _piece: torch.get_num_threads(), iter(range(6)), num_threads=3))
    assert counts == [1] * 6
    assert torch.get_num_threads() == before


def test_few_pieces_are_taken_ahead() -> None:
    taken = []

    def pieces() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = side_by_side(lambda piece: piece, pieces(), num_threads=2)
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()  # type: ignore[attr-defined]  # a generator is an iterator that can be closed


def test_an_error_is_raised_where_its_result_would_be() -> None:
    def work(piece: int) -> int:
        if piece == 2:
            raise ValueError("piece 2")
        return piece

    results = side_by_side(work, iter(range(5)), num_threads=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="piece 2"):
        next(results)
