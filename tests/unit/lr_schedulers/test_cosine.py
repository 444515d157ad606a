from __future__ import annotations

from typing import Any

import pytest

from seqtrain.lr_schedulers.cosine import CosineConfig, cosine_lr

WIKITEXT: dict[str, Any] = {
    "warmup_updates": 16_000,
    "warmup_init_lr": 1e-7,
    "min_lr": 1e-4,
    "t_mult": 2.0,
    "lr_period_updates": 270_000,
    "lr_shrink": 0.75,
}


@pytest.mark.parametrize(
    ("num_updates", "rate"), [(8_000, 0.50000005), (16_000, 1.0), (151_000, 0.50005), (285_999, 1.0000003e-4)]
)
def test_rates_of_the_wikitext_recipe(num_updates: int, rate: float) -> None:
    """See reference/fairseq.md 2.4: Baevski & Auli's recipe, peak 1."""
    assert cosine_lr(num_updates, CosineConfig(**WIKITEXT), 1.0) == pytest.approx(rate, rel=1e-7)


def test_one_period_ends_with_the_run() -> None:
    config = CosineConfig(warmup_updates=10, min_lr=0.1, total_num_update=30)
    rates = [cosine_lr(update, config, 0.5) for update in (0, 5, 10, 20, 30, 1000)]
    assert rates == pytest.approx([0.0, 0.25, 0.5, 0.3, 0.1, 0.1])


def test_a_run_may_end_within_its_warmup() -> None:
    config = CosineConfig(warmup_updates=10, total_num_update=5)
    assert [cosine_lr(update, config, 1.0) for update in (0, 4, 5)] == pytest.approx([0.0, 0.4, 0.5])


def test_each_period_is_longer_and_lower() -> None:
    """Periods of 4, 8 and 16 updates, each half as high as the one before it."""
    config = CosineConfig(lr_period_updates=4, t_mult=2.0, lr_shrink=0.5)
    starts, middles = (0, 4, 12), (2, 8, 20)
    assert [cosine_lr(update, config, 1.0) for update in starts] == pytest.approx([1.0, 0.5, 0.25])
    assert [cosine_lr(update, config, 1.0) for update in middles] == pytest.approx([0.5, 0.25, 0.125])


def test_periods_of_one_length_shrink() -> None:
    config = CosineConfig(lr_period_updates=4, lr_shrink=0.1)
    assert [cosine_lr(update, config, 1.0) for update in (0, 2, 4, 6, 8)] == pytest.approx([1, 0.5, 0.1, 0.05, 0.01])


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"total_num_update": 100}, []),
        ({"total_num_update": None}, ["lr_period_updates"]),
        ({"total_num_update": None, "lr_period_updates": 5}, []),
        ({"total_num_update": 10, "warmup_updates": 20}, []),
        ({"lr_period_updates": 0}, ["lr_period_updates"]),
        ({"total_num_update": 10, "t_mult": 0.5, "lr_shrink": 0.0, "min_lr": -1.0}, ["min_lr", "t_mult", "lr_shrink"]),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], keys: list[str]) -> None:
    assert [problem.key for problem in CosineConfig(**settings).problems()] == keys
