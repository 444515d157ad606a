"""Number formats: what auto chooses, and what a scaled loss leaves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seqtrain.config import root
from seqtrain.errors import ConfigError
from seqtrain.training.precision import MixedPrecision, multiplies_bfloat16, resolve_device, resolve_dtype

CPU = torch.device("cpu")


def test_auto_takes_bfloat16_where_the_hardware_multiplies_it() -> None:
    expected = torch.bfloat16 if multiplies_bfloat16(CPU) else torch.float32
    assert resolve_dtype(root.Precision.auto, CPU) is expected


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_format_that_was_asked_for_is_taken(name: str, dtype: torch.dtype) -> None:
    assert resolve_dtype(root.Precision[name], CPU) is dtype


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match="finds no GPU"):
        resolve_device(root.Device.cuda)


def test_float32_computes_in_float32_and_bfloat16_in_bfloat16() -> None:
    layer = nn.Linear(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with MixedPrecision(dtype, CPU).autocast():
            assert layer(torch.ones(1, 2)).dtype is dtype


def test_a_float16_overflow_skips_the_step_and_lowers_the_scale() -> None:
    layer = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    precision = MixedPrecision(torch.float16, CPU)
    before, scale = layer.weight.item(), precision.state_dict()["scale"]
    precision.scale(layer(torch.full((1, 1), torch.inf)).sum()).backward()
    precision.unscale(optimizer)
    assert not precision.step(optimizer)
    assert layer.weight.item() == before
    assert precision.state_dict()["scale"] == scale / 2


def test_float16_gradients_are_brought_back_to_size_and_its_state_survives() -> None:
    layer = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    precision = MixedPrecision(torch.float16, CPU)
    precision.scale(layer(torch.full((1, 1), 3.0)).sum()).backward()
    precision.unscale(optimizer)
    assert layer.weight.grad is not None
    assert layer.weight.grad.item() == 3.0
    assert precision.step(optimizer)
    restored = MixedPrecision(torch.float16, CPU)
    restored.load_state_dict(precision.state_dict())
    assert restored.state_dict() == precision.state_dict()
