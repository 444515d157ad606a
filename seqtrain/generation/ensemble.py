"""Several models that decide together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from seqtrain.generation.decoder import Decoder
from seqtrain.generation.predictions import MeanPredictions, Predictions


class EnsembleDecoder(Decoder):
    """The mean of the probabilities of several models over one vocabulary."""

    def __init__(self, members: Sequence[Decoder]) -> None:
        self.members = members

    @property
    def shares_first_step(self) -> bool:
        """See `Decoder`."""
        return all(member.shares_first_step for member in self.members)

    def read(self, tokens: Tensor, beam_size: int) -> None:
        """See `Decoder`."""
        for member in self.members:
            member.read(tokens, beam_size)

    def step(self, tokens: Tensor) -> Predictions:
        """See `Decoder`."""
        return MeanPredictions([member.step(tokens) for member in self.members])

    def reorder(self, parents: Tensor) -> None:
        """See `Decoder`."""
        for member in self.members:
            member.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        """See `Decoder`."""
        for member in self.members:
            member.keep(sentences)
