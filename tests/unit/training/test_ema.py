"""The average of the weights follows its formula, and lends itself to the model without a trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seqtrain.errors import CheckpointError
from seqtrain.training.ema import ExponentialAverage, decay_at


class Model(nn.Module):
    """One parameter under two names, one alone, a buffer of numbers and one of counts."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.tied = self.weight
        self.bias = nn.Parameter(torch.tensor([0.5]))
        self.register_buffer("mean", torch.tensor([3.0]))
        self.register_buffer("count", torch.tensor(7))


def train(model: Model, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def test_the_memory_is_short_at_first_and_then_what_was_asked_for() -> None:
    assert decay_at(1, 0.999) == 2 / 11
    assert decay_at(90, 0.999) == 91 / 100
    assert decay_at(100_000, 0.999) == 0.999


def test_the_average_is_that_of_the_formula() -> None:
    model = Model()
    average = ExponentialAverage(model, 0.5)
    expected = 1.0
    for num_updates, value in enumerate([2.0, 8.0, -4.0, 0.0, 16.0, 3.0, 5.0, 6.0, 7.0, 9.0], start=1):
        train(model, value)
        average.update(num_updates)
        decay = min(0.5, (1 + num_updates) / (10 + num_updates))
        expected = decay * expected + (1 - decay) * value
        assert average.tensors()["weight"][0].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("known_by", ["host", "device"])
def test_an_update_without_a_step_leaves_the_average_as_it_is(known_by: str) -> None:
    model = Model()
    average = ExponentialAverage(model, 0.5)
    train(model, 5.0)
    for skipped, expected in [(True, 1.0), (False, 0.5 * 1 + 0.5 * 5), (True, 3.0)]:
        average.update(100, skipped if known_by == "host" else torch.tensor(skipped))
        assert average.tensors()["weight"][0].item() == expected


def test_what_does_not_change_has_itself_as_the_average() -> None:
    model = Model()
    average = ExponentialAverage(model, 0.99)
    for num_updates in range(1, 50):
        average.update(num_updates)
    assert torch.equal(average.tensors()["bias"], torch.tensor([0.5]))


def test_it_is_named_as_the_weights_are_with_the_buffers_of_now() -> None:
    model = Model()
    average = ExponentialAverage(model, 0.99)
    model.get_buffer("count").add_(1)
    tensors = average.tensors()
    assert sorted(tensors) == ["bias", "count", "mean", "weight"]
    assert tensors["count"].item() == 8


def test_the_model_has_it_in_the_block_and_its_own_weights_after_an_error_too() -> None:
    model = Model()
    average = ExponentialAverage(model, 0.5)
    train(model, 0.1)

    def use() -> None:
        with average.applied():
            assert model.weight.tolist() == [1.0, -2.0]
            assert model.tied is model.weight
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert torch.equal(model.weight, torch.full((2,), 0.1))
    assert average.tensors()["weight"].tolist() == [1.0, -2.0]


def test_what_was_saved_is_loaded_to_the_bit() -> None:
    model, other = Model(), Model()
    average, resumed = ExponentialAverage(model, 0.7), ExponentialAverage(other, 0.7)
    for num_updates in range(1, 5):
        train(model, 1.0 / num_updates)
        average.update(num_updates)
    resumed.load({name: tensor.clone() for name, tensor in average.tensors().items()}, origin="here")
    train(other, 0.25)
    for one in (average, resumed):
        one.update(5)
    assert torch.equal(resumed.tensors()["weight"], average.tensors()["weight"])


def test_that_of_another_model_is_refused() -> None:
    average = ExponentialAverage(Model(), 0.7)
    with pytest.raises(CheckpointError, match=r"somewhere does not fit the model:\n  it lacks bias"):
        average.load({"weight": torch.zeros(2)}, origin="somewhere")


def test_it_begins_again_with_the_weights_of_now() -> None:
    model = Model()
    average = ExponentialAverage(model, 0.7)
    train(model, 4.0)
    average.restart()
    assert average.tensors()["weight"].tolist() == [4.0, 4.0]
