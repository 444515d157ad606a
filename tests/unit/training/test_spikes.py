"""A loss far above the usual is reported, and noise is not."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest

from seqtrain.training.spikes import NUM_ROWS, usual_range, watch_loss
from seqtrain.training.state import TrainState

Noise = Callable[[np.random.Generator, int], np.ndarray]


def num_spikes(losses: np.ndarray) -> int:
    state = TrainState()
    for loss in losses:
        watch_loss(state, float(loss), is_first=False)
    return state.num_loss_spikes


def test_the_usual_range_is_eight_robust_deviations_around_the_median() -> None:
    losses = [3.0, 4.0, 5.0, 4.0] * 4 + [4.0]  # their median is 4, the median distance from it 0
    usual = usual_range(losses)
    assert usual is not None
    assert (usual.lowest, usual.highest) == pytest.approx((4 - 8 * 0.005 * 4, 4 + 8 * 0.005 * 4))
    usual = usual_range([3.0, 5.0] * 8)  # the median distance from 4 is 1
    assert usual is not None
    assert usual.highest == pytest.approx(4 + 8 * 1.4826)


def test_a_run_that_has_just_begun_has_no_usual_range() -> None:
    assert usual_range([9.0] * 15) is None


@pytest.mark.parametrize(
    "noise",
    [
        lambda draw, number: 4 + 0.02 * draw.standard_normal(number),
        lambda draw, number: 4 + 0.3 * draw.standard_normal(number),
        lambda draw, number: 4 * np.exp(0.1 * draw.standard_normal(number)),
        lambda draw, number: 4 + 0.1 * np.cumsum(0.05 * draw.standard_normal(number)),
    ],
    ids=["quiet", "restless", "skewed", "wandering"],
)
def test_noise_gives_at_most_one_false_alarm_in_5000_rows(noise: Noise) -> None:
    assert num_spikes(noise(np.random.default_rng(1), 5000)) <= 1


def test_a_falling_loss_gives_no_false_alarm() -> None:
    draw = np.random.default_rng(2)
    updates = np.arange(1, 501)
    for _ in range(10):
        assert num_spikes(3 + 9 * updates**-0.5 + 0.1 * draw.standard_normal(500)) == 0


@pytest.mark.parametrize("deviation", [0.02, 0.1, 0.3])
def test_a_spike_of_twenty_deviations_is_found_wherever_it_is(deviation: float) -> None:
    draw = np.random.default_rng(3)
    for place in range(20, 120, 10):
        losses = 4 + deviation * draw.standard_normal(150)
        losses[place] += 20 * max(deviation, 0.005 * 4)
        assert num_spikes(losses) == 1


def test_a_loss_that_stays_high_is_usual_after_half_of_the_rows() -> None:
    draw = np.random.default_rng(4)
    losses = np.concatenate([np.full(60, 3.0), np.full(60, 6.0)]) + 0.01 * draw.standard_normal(120)
    assert num_spikes(losses) == NUM_ROWS // 2


def test_the_warning_says_where(caplog: pytest.LogCaptureFixture) -> None:
    state = TrainState(num_updates=900, epoch=2, next_batch=300, row_epoch=2, row_batch=200)
    state.recent_losses = [4.0] * 20
    with caplog.at_level(logging.WARNING, logger="seqtrain"):
        watch_loss(state, 7.5, is_first=True)
    assert caplog.messages == [
        "the loss rose to 7.5 at update 900, usual is 3.84 to 4.16: see batches 200 to 299 of epoch 2"
    ]
    assert state.num_loss_spikes == 1


def test_the_state_holds_the_last_rows_only_and_no_row_without_a_loss() -> None:
    state = TrainState()
    for loss in [*range(100), float("nan")]:
        watch_loss(state, float(loss), is_first=False)
    assert state.recent_losses == [float(loss) for loss in range(100 - NUM_ROWS, 100)]
