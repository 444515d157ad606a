"""Tensors written by hand are the file that the safetensors library would write."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from seqtrain.training.tensor_file import _NAMES, write_tensors


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"weight": torch.arange(6.0).reshape(2, 3)},
        {f"{shape} {dtype}": torch.ones(shape).to(dtype) for dtype in _NAMES for shape in ((), (3, 5), (0, 2))},
        {name: torch.zeros(1) for name in ("b", "a", 'quoted "é" \\', "control \n\x01\x7f", "漢字")},
    ],
    ids=["nothing", "one", "every number format", "names"],
)
def test_the_bytes_are_those_that_the_library_writes(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    digest = write_tensors(path, tensors)
    assert path.read_bytes() == save(tensors)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_tensor_that_is_a_view_is_written_as_what_it_shows(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "file", {"turned": whole.t(), "part": whole[1:, ::2]})
    read = load((tmp_path / "file").read_bytes())
    assert torch.equal(read["turned"], whole.t())
    assert torch.equal(read["part"], whole[1:, ::2])


@pytest.mark.gpu
def test_a_parameter_on_a_gpu_is_written(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.arange(5.0, device="cuda"))
    write_tensors(tmp_path / "file", {"weight": parameter})
    assert torch.equal(load((tmp_path / "file").read_bytes())["weight"], torch.arange(5.0))
