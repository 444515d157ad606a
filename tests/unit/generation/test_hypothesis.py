"""The record of a search."""

from __future__ import annotations

import torch

from seqtrain.generation.hypothesis import Endings, History
from seqtrain.generation.scoring import LengthPenalty, make_hypotheses

EOS = 2
CPU = torch.device("cpu")


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values)


def test_endings_beyond_the_beam_are_dropped_in_the_order_of_their_ranks() -> None:
    endings = Endings(1, 3, CPU)
    endings.add(4, rows([False, True, True]).bool(), rows([0, 1, 2]), rows([-1.0, -2.0, -3.0]))
    endings.add(5, rows([True, True, False]).bool(), rows([2, 0, 1]), rows([-4.0, -5.0, -6.0]))
    assert endings.counts.tolist() == [3]
    assert endings.steps[0, :3].tolist() == [4, 4, 5]
    assert endings.rows[0, :3].tolist() == [1, 2, 2]
    assert endings.totals[0, :3].tolist() == [-2, -3, -4]


def hand_drawn() -> tuple[History, Endings]:
    """Two rows: 10 -> 12 -> end, and 10 -> 13 -> 14 -> end; row 1 of step 0 (11) has no heirs."""
    history = History()
    history.append(rows([0, 0]), rows([10, 11]), rows([-1.0, -2.0]))
    history.append(rows([0, 0]), rows([12, 13]), rows([-1.5, -2.5]))
    history.append(rows([1, 0]), rows([14, 15]), rows([-3.0, -9.0]))
    endings = Endings(1, 2, CPU)
    endings.add(2, rows([True, False]).bool(), rows([0, 0]), rows([-1.75, 0.0]))
    endings.add(3, rows([True, False]).bool(), rows([0, 0]), rows([-4.0, 0.0]))
    return history, endings


def test_hypotheses_are_rebuilt_from_who_continued_whom() -> None:
    history, endings = hand_drawn()
    short, long = make_hypotheses(history.trace(endings, EOS), [0], LengthPenalty(1.0), num_best=2)[0]
    assert short.tokens.tolist() == [10, 12, EOS]
    assert short.positional_scores.tolist() == [-1, -0.5, -0.25]
    assert short.score == -1.75 / 3
    assert long.tokens.tolist() == [10, 13, 14, EOS]
    assert long.positional_scores.tolist() == [-1, -1.5, -0.5, -1]
    assert long.score == -1


def test_what_stands_before_the_origin_is_no_part_of_the_hypothesis() -> None:
    history, endings = hand_drawn()
    hypotheses = make_hypotheses(history.trace(endings, EOS), [1], LengthPenalty(0.0), num_best=2)[0]
    assert [hypothesis.tokens.tolist() for hypothesis in hypotheses] == [[12, EOS], [13, 14, EOS]]


def test_hypotheses_of_equal_score_stay_in_the_order_in_which_they_ended() -> None:
    history, endings = hand_drawn()
    endings.totals[0, :2] = torch.tensor([-3.0, -4.0])
    hypotheses = make_hypotheses(history.trace(endings, EOS), [0], LengthPenalty(1.0), num_best=2)[0]
    assert [hypothesis.score for hypothesis in hypotheses] == [-1, -1]
    assert [len(hypothesis.tokens) for hypothesis in hypotheses] == [3, 4]


def test_selected_sentences_keep_their_record() -> None:
    history = History()
    history.append(torch.zeros(3, 1).long(), torch.tensor([[10], [11], [12]]), torch.tensor([[-1.0], [-2.0], [-3.0]]))
    endings = Endings(3, 1, CPU)
    ended = torch.ones(3, 1, dtype=torch.bool)
    endings.add(1, ended, torch.zeros(3, 1).long(), torch.tensor([[-1.5], [-2.5], [-3.5]]))
    chosen = torch.tensor([0, 2])
    paths = history.select(chosen).trace(endings.select(chosen), EOS)
    assert paths.tokens.tolist() == [[[10, EOS]], [[12, EOS]]]
    assert paths.totals.tolist() == [[[-1, -1.5]], [[-3, -3.5]]]
