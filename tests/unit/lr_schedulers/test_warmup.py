from __future__ import annotations

import pytest

from seqtrain.lr_schedulers.warmup import check_warmup, linear_warmup


def test_rates_lie_on_a_line() -> None:
    rates = [linear_warmup(update, 4, 0.1, 0.5) for update in range(4)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_negative_settings_are_named() -> None:
    assert [problem.key for problem in check_warmup(-1, -0.1)] == ["warmup_updates", "warmup_init_lr"]
    assert list(check_warmup(0, 0.0)) == []
