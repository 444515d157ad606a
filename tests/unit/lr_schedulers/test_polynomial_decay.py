from __future__ import annotations

from typing import Any

import pytest

from seqtrain.lr_schedulers.polynomial_decay import PolynomialDecayConfig, polynomial_decay_lr


def test_linear_decay() -> None:
    """See reference/fairseq.md 2.4: lr 1e-3, warm-up 100, 1,000 updates: 5e-4 at update 550."""
    config = PolynomialDecayConfig(warmup_updates=100, total_num_update=1000)
    rates = [polynomial_decay_lr(update, config, 1e-3) for update in (0, 50, 100, 550, 1000, 2000)]
    assert rates == pytest.approx([0.0, 5e-4, 1e-3, 5e-4, 0.0, 0.0])


def test_quadratic_decay_to_a_floor() -> None:
    config = PolynomialDecayConfig(total_num_update=10, end_learning_rate=0.1, power=2.0)
    assert [polynomial_decay_lr(update, config, 1.1) for update in (0, 5, 10)] == pytest.approx([1.1, 0.35, 0.1])


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"total_num_update": 100}, []),
        ({"total_num_update": None}, ["total_num_update"]),
        ({"total_num_update": 10, "warmup_updates": 10}, ["total_num_update"]),
        ({"total_num_update": 10, "power": 0.0, "end_learning_rate": -1.0}, ["end_learning_rate", "power"]),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], keys: list[str]) -> None:
    assert [problem.key for problem in PolynomialDecayConfig(**settings).problems()] == keys
