from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from seqtrain.errors import DataError
from seqtrain.nn.positions import LearnedPositions, SinusoidalPositions, sinusoidal_table

PADDING = 1


def test_sines_stand_before_cosines() -> None:
    row = sinusoidal_table(8, 6, PADDING)[5]
    frequencies = [10000 ** (-i / 2) for i in range(3)]
    angles = [5 * frequency for frequency in frequencies]
    assert_close(row, torch.tensor([*map(math.sin, angles), *map(math.cos, angles)]))


def test_an_odd_width_ends_with_zeros() -> None:
    table = sinusoidal_table(8, 5, PADDING)
    assert table[:, 4].count_nonzero() == 0
    assert_close(table[:, :4], sinusoidal_table(8, 4, PADDING))


def test_the_padding_row_is_zero() -> None:
    assert sinusoidal_table(4, 6, PADDING)[PADDING].count_nonzero() == 0


def test_the_first_column_is_two_rows_behind_the_start() -> None:
    """The table of fairseq, whose padding symbol is 1; values for D = 4 from reference/fairseq.md 2.6."""
    positions = SinusoidalPositions(10, 4, PADDING)
    assert_close(positions(0, 1)[0], torch.tensor([0.909297, 0.0002, -0.416147, 1.0]), rtol=0, atol=1e-6)


def test_a_piece_is_a_part_of_the_whole() -> None:
    positions = SinusoidalPositions(10, 4, PADDING)
    assert torch.equal(positions(3, 4), positions(0, 10)[3:7])


def test_a_sinusoidal_table_grows() -> None:
    positions = SinusoidalPositions(3, 4, PADDING)
    assert_close(positions(0, 50), sinusoidal_table(52, 4, PADDING)[2:])


def test_a_sinusoidal_table_is_not_saved() -> None:
    assert SinusoidalPositions(3, 4, PADDING).state_dict() == {}


def test_learned_positions_start_behind_the_padding_row() -> None:
    positions = LearnedPositions(5, 4, PADDING)
    assert positions.weight.shape == (7, 4)
    assert positions.weight[PADDING].count_nonzero() == 0
    assert torch.equal(positions(1, 4), positions.weight[3:7])


def test_learned_positions_are_drawn_with_the_deviation_of_embeddings() -> None:
    torch.manual_seed(1)
    weight = LearnedPositions(5000, 16, PADDING).weight
    assert weight.std().item() == pytest.approx(0.25, rel=0.02)


def test_a_learned_table_ends() -> None:
    with pytest.raises(DataError, match="a sequence of 6 tokens is longer than the 5 positions"):
        LearnedPositions(5, 4, PADDING)(2, 4)
