"""One step of beam search, drawn by hand."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqtrain.generation.beam_search import BeamSearch
from seqtrain.generation.constraints import Place
from seqtrain.generation.strategy import Expansion

EOS, A, B, C = 2, 4, 5, 6
NEVER = -math.inf


def expand(log_probs: Tensor, totals: Tensor, is_first: Tensor | None = None) -> Expansion:
    lengths = torch.zeros(len(totals), dtype=torch.long)
    ids = torch.arange(len(totals))
    here = Place(0, lengths, lengths, 0, False, ids=ids, is_first=is_first, text=None)
    search = BeamSearch(EOS, totals.shape[1])
    return search.expand(search.narrow(log_probs, torch.zeros(*totals.shape, 1), here), totals, here)


def successors(**scores: float) -> list[float]:
    """A row of log-probabilities by the letter; e is the end."""
    row = [NEVER] * 7
    for name, score in scores.items():
        row[{"e": EOS, "a": A, "b": B, "c": C}[name]] = score
    return row


def test_the_best_continuations_of_all_rows_go_on() -> None:
    log_probs = torch.tensor([[successors(a=-1.0, b=-2.0, c=-5.0), successors(a=-0.5, b=-4.0, c=-6.0)]])
    step = expand(log_probs, torch.tensor([[-1.0, -2.0]]))
    # -2 (row 0, a), -2.5 (row 1, a), -3 (row 0, b)
    assert step.totals.tolist() == [[-2, -2.5]]
    assert step.parents.tolist() == [[0, 1]]
    assert step.tokens.tolist() == [[A, A]]
    assert not step.ended.any()


def test_a_row_may_be_continued_twice_and_another_not_at_all() -> None:
    log_probs = torch.tensor([[successors(a=-1.0, b=-2.0, c=-5.0), successors(a=-0.5, b=-4.0, c=-6.0)]])
    step = expand(log_probs, torch.tensor([[-1.0, -9.0]]))
    assert step.parents.tolist() == [[0, 0]]
    assert step.tokens.tolist() == [[A, B]]


def test_an_end_among_the_k_best_is_finished_and_the_beam_stays_full() -> None:
    log_probs = torch.tensor([[successors(e=-0.5, a=-1.0, b=-2.0), successors(a=-0.5, b=-4.0, c=-6.0)]])
    step = expand(log_probs, torch.tensor([[-1.0, -2.0]]))
    assert step.ended.tolist() == [[True, False]]
    assert step.ended_totals[0, 0] == -1.5
    assert step.ended_rows[0, 0] == 0
    assert step.totals.tolist() == [[-2, -2.5]]


def test_an_end_below_the_k_best_is_neither_finished_nor_continued() -> None:
    log_probs = torch.tensor([[successors(a=-1.0, b=-1.5, e=-1.75, c=-2.0), successors(a=-9.0, b=-9.5, c=-9.75)]])
    step = expand(log_probs, torch.tensor([[0.0, 0.0]]))
    assert not step.ended.any()
    assert step.tokens.tolist() == [[A, B]]


def test_rows_that_are_alike_count_once() -> None:
    row = successors(a=-1.0, b=-2.0, c=-3.0)
    step = expand(torch.tensor([[row, row]]), torch.zeros(1, 2), is_first=torch.tensor([True]))
    assert step.parents.tolist() == [[0, 0]]
    assert step.tokens.tolist() == [[A, B]]


def test_an_end_that_is_forbidden_is_not_finished() -> None:
    log_probs = torch.tensor([[successors(a=-1.0), successors()]])
    step = expand(log_probs, torch.tensor([[0.0, NEVER]]))
    assert not step.ended.any()
    assert step.totals.tolist() == [[-1, NEVER]]


def test_one_row_is_greedy_search() -> None:
    log_probs = torch.tensor([[successors(a=-1.0, b=-0.5)], [successors(e=-0.25, c=-0.5)]])
    step = expand(log_probs, torch.zeros(2, 1))
    assert step.tokens.tolist() == [[B], [C]]
    assert step.ended.tolist() == [[False], [True]]


def test_a_shared_first_step_is_that_of_rows_that_are_alike() -> None:
    row = successors(a=-1.0, b=-2.0, c=-3.0, e=-1.5)
    search = BeamSearch(EOS, 2)
    here = Place(
        0, torch.zeros(1), torch.zeros(1), 0, False, ids=torch.arange(1), is_first=torch.tensor([True]), text=None
    )
    shared, whole = (
        search.expand(
            search.narrow(torch.tensor([[row] * count]), torch.zeros(1, count, 1), here), torch.zeros(1, 2), here
        )
        for count in (1, 2)
    )
    for one, other in zip(vars(shared).values(), vars(whole).values(), strict=True):
        assert torch.equal(one, other)


def test_log_probabilities_are_scores_less_their_normalizers() -> None:
    search = BeamSearch(EOS, 1)
    here = Place(0, torch.zeros(1), torch.zeros(1), 0, False, ids=torch.arange(1), is_first=None, text=None)
    found = search.narrow(torch.tensor([[successors(a=5.0, b=3.0)]]), torch.tensor([[[6.0]]]), here)
    assert found.log_probs.tolist() == [[[-1.0, -3.0]]]
    assert found.tokens.tolist() == [[[A, B]]]
