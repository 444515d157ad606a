"""What every learning-rate schedule promises."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import nn

from seqtrain.testing.plugin import PluginContract, json_round_trip

BASE_LR = 0.25
UPDATES_PER_EPOCH = 7
VALID_LOSSES = (5.0, 4.0, 4.5, 4.25, 4.75, 3.0, 3.5, 3.75)


class LRSchedulerContract(PluginContract):
    """The suite of a schedule: finite rates, no memory but its state, and its hands off the optimizer."""

    kind: ClassVar[str] = "lr_scheduler"

    def schedule(self) -> Any:
        """A new schedule for an optimizer whose learning rate is `BASE_LR`."""
        return self.build(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=BASE_LR))

    def rates(self, schedule: Any, epochs: range) -> list[float]:
        """The rates of all updates of some epochs, with what each epoch's validation gives."""
        rates = []
        for epoch in epochs:
            for update in range((epoch - 1) * UPDATES_PER_EPOCH, epoch * UPDATES_PER_EPOCH):
                rates.append(schedule.step_update(update))
            rates.append(schedule.step(epoch, VALID_LOSSES[epoch - 1]))
        return rates

    def test_rates_are_finite_and_not_negative(self) -> None:
        """At every update, also long after the schedule's end; and not zero all the time."""
        schedule = self.schedule()
        rates = [schedule.step_update(update) for update in (*range(2_000), 10_000, 100_000, 1_000_000)]
        assert all(math.isfinite(rate) and rate >= 0 for rate in rates)
        assert any(rate > 0 for rate in rates)

    def test_asking_twice_gives_the_same_rate(self) -> None:
        """`step_update` answers a question: it counts nothing."""
        schedule = self.schedule()
        for update in (0, 1, 2, 50, 1_000):
            assert schedule.step_update(update) == schedule.step_update(update)

    def test_an_epoch_may_end_without_a_validation(self) -> None:
        """`step` is then told so by None, and gives a rate all the same."""
        rate = self.schedule().step(1, None)
        assert math.isfinite(rate)
        assert rate >= 0

    def test_it_goes_on_from_its_state(self) -> None:
        """A new schedule that takes the state of an old one gives the rates that the old one would have given."""
        half, end = len(VALID_LOSSES) // 2, len(VALID_LOSSES)
        whole = self.schedule()
        self.rates(whole, range(1, half + 1))
        state = json_round_trip(whole.state_dict())
        resumed = self.schedule()
        resumed.load_state_dict(state)
        assert self.rates(resumed, range(half + 1, end + 1)) == self.rates(whole, range(half + 1, end + 1))

    def test_it_leaves_the_optimizer_alone(self) -> None:
        """What it returns is set by the training loop."""
        schedule = self.schedule()
        self.rates(schedule, range(1, len(VALID_LOSSES) + 1))
        assert schedule.optimizer.param_groups[0]["lr"] == BASE_LR
