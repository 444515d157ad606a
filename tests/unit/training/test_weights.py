"""A module's tensors by name: tied ones once, and refused where they do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seqtrain.errors import CheckpointError
from seqtrain.training.weights import load_named_tensors, named_tensors


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 3)
        self.output = nn.Linear(3, 4, bias=False)
        self.output.weight = self.embedding.weight
        self.register_buffer("seen", torch.tensor(5))


def test_a_tied_parameter_is_there_once() -> None:
    assert list(named_tensors(Tied())) == ["seen", "embedding.weight"]


def test_tensors_are_copied_in_and_ties_stay() -> None:
    source, target = Tied(), Tied()
    load_named_tensors(target, named_tensors(source), origin="here")
    assert torch.equal(target.output.weight, source.embedding.weight)
    assert target.output.weight is target.embedding.weight


def test_other_names_are_listed() -> None:
    tensors = named_tensors(Tied())
    tensors["decoder"] = tensors.pop("embedding.weight")
    with pytest.raises(CheckpointError, match=r"(?s)it lacks embedding\.weight.*the model has no decoder"):
        load_named_tensors(Tied(), tensors, origin="here")


def test_another_shape_is_told_with_the_likely_cause() -> None:
    tensors = {**named_tensors(Tied()), "embedding.weight": torch.zeros(5, 3)}
    with pytest.raises(CheckpointError, match=r"embedding\.weight is \(5, 3\) there and \(4, 3\) here") as caught:
        load_named_tensors(Tied(), tensors, origin="here")
    assert "vocabulary" in str(caught.value.remedy)
