"""Twelve steps of each optimizer against fairseq's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from seqtrain.optimizers.adam import AdamConfig
from seqtrain.optimizers.nag import NAGConfig
from seqtrain.optimizers.sgd import SGDConfig
from seqtrain.optimizers.torch_adam import Adam
from seqtrain.optimizers.torch_sgd import NAG, SGD
from tests.shared import shared

EXPECTED: dict[str, Any] = json.loads((shared("golden/fairseq") / "optimizers.json").read_text())
TOLERANCE = 1e-5
Groups = list[dict[str, Any]]


def adam(settings: dict[str, Any], groups: Groups) -> Optimizer:
    assert settings["adam_betas"] == "(0.9, 0.98)"
    return Adam(AdamConfig(lr=settings["lr"][0], betas=[0.9, 0.98], eps=settings["adam_eps"]), groups)


def sgd(settings: dict[str, Any], groups: Groups) -> Optimizer:
    return SGD(SGDConfig(lr=settings["lr"][0], momentum=settings["momentum"]), groups)


def nag(settings: dict[str, Any], groups: Groups) -> Optimizer:
    return NAG(NAGConfig(lr=settings["lr"][0], momentum=settings["momentum"]), groups)


@pytest.mark.parametrize(("name", "build"), [("adam", adam), ("sgd", sgd), ("nag", nag)])
def test_final_parameters(name: str, build: Callable[[dict[str, Any], Groups], Optimizer]) -> None:
    case = EXPECTED[name]
    shapes = case["shapes"]
    parameters = [
        nn.Parameter(torch.tensor(values).view(shape)) for values, shape in zip(case["initial"], shapes, strict=True)
    ]
    optimizer = build(case["settings"], [{"params": parameters, "weight_decay": case["settings"]["weight_decay"]}])
    for gradients in case["gradients"]:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient).view(parameter.shape)
        optimizer.step()
    for parameter, final in zip(parameters, case["final"], strict=True):
        torch.testing.assert_close(parameter.detach().flatten(), torch.tensor(final), rtol=TOLERANCE, atol=TOLERANCE)
