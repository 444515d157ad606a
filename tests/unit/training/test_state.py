"""The counters of a run survive a restart, and judge a validation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from seqtrain.errors import CheckpointError
from seqtrain.training.state import TrainState


def test_the_counters_survive_json() -> None:
    state = TrainState(num_updates=3, epoch=2, interval_sums={"loss": 0.1 + 0.2}, best_metric=1 / 3)
    assert TrainState.from_state_dict(json.loads(json.dumps(state.state_dict()))) == state


@dataclass(kw_only=True)
class LaterState(TrainState):
    """The counters of a later version."""

    num_skipped: int = 0


def test_a_counter_that_was_added_since_has_its_default() -> None:
    state = LaterState.from_state_dict(TrainState(num_updates=3).state_dict())
    assert (state.num_updates, state.num_skipped) == (3, 0)


@pytest.mark.parametrize(
    ("saved", "name"),
    [
        ({**TrainState().state_dict(), "num_restarts": 1}, "num_restarts"),
        ({key: value for key, value in TrainState().state_dict().items() if key != "next_batch"}, "next_batch"),
    ],
    ids=["unknown", "missing"],
)
def test_other_counters_are_refused_by_name(saved: dict[str, Any], name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        TrainState.from_state_dict(saved)
    assert str(caught.value) == (
        f"the checkpoint's training state has other counters than this version of seqtrain: {name}\n"
        "use the version that wrote it, or start from its weights: checkpoint.finetune_from=FOLDER"
    )


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
