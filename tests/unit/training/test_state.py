"""The counters of a run survive a restart, and judge a validation."""

from __future__ import annotations

import json

import pytest

from seqtrain.errors import CheckpointError
from seqtrain.training.state import TrainState


def test_the_counters_survive_json() -> None:
    state = TrainState(num_updates=3, epoch=2, interval_sums={"loss": 0.1 + 0.2}, best_metric=1 / 3)
    assert TrainState.from_state_dict(json.loads(json.dumps(state.state_dict()))) == state


def test_counters_of_another_version_are_refused_by_name() -> None:
    saved = {**TrainState().state_dict(), "num_restarts": 1}
    with pytest.raises(CheckpointError, match="num_restarts"):
        TrainState.from_state_dict(saved)


@pytest.mark.parametrize(
    ("maximize", "values", "expected"), [(False, [3, 2, 2, 4], [1, 1, 0, 0]), (True, [3, 2, 4], [1, 0, 1])]
)
def test_an_equal_value_is_not_better(*, maximize: bool, values: list[float], expected: list[int]) -> None:
    state = TrainState()
    assert [state.record_validation(value, maximize=maximize) for value in values] == [bool(one) for one in expected]


def test_patience_counts_the_validations_since_the_best() -> None:
    state = TrainState()
    for value in [5.0, 4.0, 4.5, 4.0]:
        state.record_validation(value, maximize=False)
    assert (state.best_metric, state.num_validations_since_best) == (4.0, 2)
