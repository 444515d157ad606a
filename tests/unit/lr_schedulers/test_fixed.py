from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from seqtrain.lr_schedulers.fixed import Fixed, FixedConfig, fixed_lr


def schedule(**settings: Any) -> Fixed:
    return Fixed(FixedConfig(**settings), torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5))


def test_one_rate_for_all_epochs() -> None:
    assert [fixed_lr(epoch, FixedConfig(), 0.5) for epoch in (1, 2, 100)] == [0.5, 0.5, 0.5]


def test_a_rate_for_each_epoch() -> None:
    config = FixedConfig(lr=[3.0, 2.0, 1.0])
    assert [fixed_lr(epoch, config, 0.5) for epoch in (1, 2, 3, 4)] == [3.0, 2.0, 1.0, 1.0]


def test_annealing_shrinks_the_last_rate_once_an_epoch() -> None:
    config = FixedConfig(lr=[3.0, 2.0], force_anneal=2, lr_shrink=0.5)
    assert [fixed_lr(epoch, config, 0.5) for epoch in (1, 2, 3, 4)] == [3.0, 1.0, 0.5, 0.25]


def test_the_warmup_reaches_the_rate_with_its_last_update() -> None:
    rates = schedule(warmup_updates=4)
    assert [rates.step_update(update) for update in (0, 1, 2, 3, 4)] == [0.125, 0.25, 0.375, 0.5, 0.5]


def test_without_a_warmup_the_first_update_has_the_whole_rate() -> None:
    assert schedule().step_update(0) == 0.5


def test_an_epoch_ends_whatever_its_loss() -> None:
    rates = schedule(lr=[3.0, 2.0])
    assert rates.step_update(7) == 3.0
    assert rates.step(1, None) == 2.0
    assert rates.step_update(8) == 2.0


def test_a_run_that_goes_on_within_an_epoch_keeps_its_rate() -> None:
    first = schedule(lr=[3.0, 2.0])
    first.step(1, 5.0)
    resumed = schedule(lr=[3.0, 2.0])
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert resumed.step_update(9) == 2.0


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({}, []),
        ({"lr": []}, ["lr"]),
        ({"lr": [1.0, 0.0]}, ["lr"]),
        ({"force_anneal": 0, "lr_shrink": 2.0, "warmup_updates": -1}, ["warmup_updates", "force_anneal", "lr_shrink"]),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], keys: list[str]) -> None:
    assert [problem.key for problem in FixedConfig(**settings).problems()] == keys
