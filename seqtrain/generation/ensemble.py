"""Several models that decide together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from seqtrain.generation.decoder import Decoder


class EnsembleDecoder(Decoder):
    """The mean of the probabilities of several models over one vocabulary."""

    def __init__(self, members: Sequence[Decoder]) -> None:
        self.members = members

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        return mean_of_probabilities([member.step(tokens) for member in self.members])

    def reorder(self, parents: Tensor) -> None:
        """See `Decoder`."""
        for member in self.members:
            member.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        """See `Decoder`."""
        for member in self.members:
            member.keep(sentences)


def mean_of_probabilities(log_probs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of n probabilities: logsumexp(log p) - log n."""
    return torch.logsumexp(torch.stack(list(log_probs)), dim=0) - math.log(len(log_probs))
