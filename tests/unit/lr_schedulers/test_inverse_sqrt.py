from __future__ import annotations

import pytest
import torch

from seqtrain.lr_schedulers.inverse_sqrt import InverseSqrt, InverseSqrtConfig, inverse_sqrt_lr


@pytest.mark.parametrize(
    ("num_updates", "rate"),
    [(0, 1e-7), (1001, 1.252e-4), (2001, 2.50175e-4), (2737, 3.42157e-4), (4000, 5e-4), (16000, 2.5e-4)],
)
def test_rates_of_a_published_log(num_updates: int, rate: float) -> None:
    """See reference/fairseq.md 2.4: the recipe lr 5e-4, 4,000 updates of warm-up from 1e-7."""
    actual = inverse_sqrt_lr(num_updates, peak_lr=5e-4, warmup_updates=4000, warmup_init_lr=1e-7)
    assert actual == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize(
    ("num_updates", "rate"),
    [(21497, 0.00030195283218121974), (23647, 0.00028789890295524164), (25797, 0.0002756407569266462)],
)
def test_rates_to_the_last_digit(num_updates: int, rate: float) -> None:
    """Another published log: lr 7e-4."""
    assert inverse_sqrt_lr(num_updates, peak_lr=7e-4, warmup_updates=4000) == pytest.approx(rate, rel=1e-15)


def test_without_a_warmup_the_first_updates_have_the_peak_rate() -> None:
    rates = [inverse_sqrt_lr(update, peak_lr=1.0, warmup_updates=0) for update in (0, 1, 4, 100)]
    assert rates == [1.0, 1.0, 0.5, 0.1]


def test_the_peak_is_the_rate_that_the_optimizer_was_built_with() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = InverseSqrt(InverseSqrtConfig(warmup_updates=10), optimizer)
    optimizer.param_groups[0]["lr"] = 123.0
    assert [schedule.step_update(update) for update in (0, 5, 10, 40)] == [0.0, 0.25, 0.5, 0.25]


def test_negative_settings_are_named() -> None:
    problems = InverseSqrtConfig(warmup_updates=-1, warmup_init_lr=-1.0).problems()
    assert [problem.key for problem in problems] == ["warmup_updates", "warmup_init_lr"]
