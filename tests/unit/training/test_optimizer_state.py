"""An optimizer that is saved and loaded goes on as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import nn

from seqtrain.errors import CheckpointError
from seqtrain.training.optimizer_state import load_optimizer_state, optimizer_state

Factory = Callable[[nn.Linear], torch.optim.Optimizer]

FACTORIES: dict[str, Factory] = {
    "adamw": lambda module: torch.optim.AdamW(module.parameters(), lr=0.1, betas=(0.8, 0.9)),
    "adamw amsgrad": lambda module: torch.optim.AdamW(module.parameters(), lr=0.1, amsgrad=True),
    "fused adam": lambda module: torch.optim.Adam(module.parameters(), lr=0.1, fused=True),
    "sgd with momentum": lambda module: torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9),
    "two groups": lambda module: torch.optim.AdamW(
        [{"params": [module.weight], "weight_decay": 0.5}, {"params": [module.bias], "weight_decay": 0.0}], lr=0.1
    ),
}


def module() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(3, 2)


def train(model: nn.Linear, optimizer: torch.optim.Optimizer, num_updates: int) -> None:
    for update in range(num_updates):
        torch.manual_seed(update)
        optimizer.zero_grad()
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", FACTORIES)
def test_a_restored_optimizer_makes_the_same_steps_to_the_bit(name: str) -> None:
    first = module()
    optimizer = FACTORIES[name](first)
    train(first, optimizer, 3)
    tensors, plain = optimizer_state(optimizer, first)
    tensors = {key: tensor.clone() for key, tensor in tensors.items()}
    plain = json.loads(json.dumps(plain))

    second = module()
    second.load_state_dict(first.state_dict())
    restored = FACTORIES[name](second)
    load_optimizer_state(restored, second, tensors=tensors, plain=plain)
    train(first, optimizer, 3)
    train(second, restored, 3)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
    assert [group["lr"] for group in restored.param_groups] == [group["lr"] for group in optimizer.param_groups]


def test_pairs_come_back_as_pairs() -> None:
    model = module()
    optimizer = FACTORIES["adamw"](model)
    train(model, optimizer, 1)
    tensors, plain = optimizer_state(optimizer, model)
    load_optimizer_state(optimizer, model, tensors=tensors, plain=json.loads(json.dumps(plain)))
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)


def test_state_of_an_unknown_parameter_is_refused() -> None:
    model = module()
    optimizer = FACTORIES["adamw"](model)
    with pytest.raises(CheckpointError, match="optimizer state of other, which the model does not have"):
        load_optimizer_state(
            optimizer, model, tensors={"other/exp_avg": torch.zeros(1)}, plain={"values": {}, "groups": [{}]}
        )


def test_a_value_that_json_cannot_hold_is_refused_at_the_first_save() -> None:
    model = module()
    optimizer = FACTORIES["adamw"](model)
    optimizer.state[model.weight]["history"] = {1, 2}
    with pytest.raises(TypeError, match="optimizer state weight/history is a set"):
        optimizer_state(optimizer, model)
