"""What may be written next: a small object for each rule.

Shapes: B sentences, K rows a sentence, V entries of the vocabulary.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Place:
    """Where a search stands, for B sentences.

    The plain numbers bound the tensors, so that a rule that does not bear on this step need not look at them.

    Attributes:
        step: Counted from 0, the same for all sentences.
        lengths: (B,) int64, how many tokens each hypothesis has; negative while a given beginning is read.
        max_lengths: (B,) int64, the most that it may have before the end symbol.
        smallest_length: The least of `lengths`.
        can_be_full: Whether a hypothesis of this batch may have its greatest length.
        ids: (B,) int64, the sentences' numbers.
        is_first: (B,) bool, whether the rows of a sentence are alike still, for nothing was chosen yet; None where
            there is no such sentence.
        text: (B, K, step + 1) int64, all that was read and written, the start symbol first; None unless a rule asks for
            it.
    """

    step: int
    lengths: Tensor
    max_lengths: Tensor
    smallest_length: int
    can_be_full: bool
    ids: Tensor
    is_first: Tensor | None
    text: Tensor | None

    def of(self, sentences: slice) -> Place:
        """The same for some of the sentences."""
        return replace(
            self,
            lengths=self.lengths[sentences],
            max_lengths=self.max_lengths[sentences],
            ids=self.ids[sentences],
            is_first=None if self.is_first is None else self.is_first[sentences],
            text=None if self.text is None else self.text[sentences],
        )


class Constraint(ABC):
    """Forbids tokens.

    Attributes:
        reads_text: Whether it needs `Place.text`, which costs a copy at each step.
    """

    reads_text: bool = False

    @abstractmethod
    def apply(self, scores: Tensor, place: Place) -> None:
        """Set the scores (B, K, V) of forbidden tokens to minus infinity, in place."""


class MaximumLength(Constraint):
    """A hypothesis that has its greatest length can only end."""

    def __init__(self, end_symbol: int) -> None:
        self.end_symbol = end_symbol

    def apply(self, scores: Tensor, place: Place) -> None:
        """See `Constraint`."""
        if not place.can_be_full:
            return
        is_full = (place.lengths >= place.max_lengths)[:, None]
        scores[:, :, : self.end_symbol].masked_fill_(is_full[:, :, None], -math.inf)
        scores[:, :, self.end_symbol + 1 :].masked_fill_(is_full[:, :, None], -math.inf)


class MinimumLength(Constraint):
    """A hypothesis has at least `min_len` tokens before the end symbol, unless its greatest length is less."""

    def __init__(self, end_symbol: int, min_len: int) -> None:
        self.end_symbol = end_symbol
        self.min_len = min_len

    def apply(self, scores: Tensor, place: Place) -> None:
        """See `Constraint`."""
        if place.smallest_length >= self.min_len:
            return
        is_short = (place.lengths < self.min_len) & (place.lengths < place.max_lengths)
        scores[:, :, self.end_symbol].masked_fill_(is_short[:, None], -math.inf)


class NoRepeatedNgrams(Constraint):
    """No sequence of n tokens occurs twice in a text (Paulus et al., 2018); a given beginning counts as text."""

    reads_text = True

    def __init__(self, size: int, padding_symbol: int) -> None:
        self.size = size
        self.padding_symbol = padding_symbol

    def apply(self, scores: Tensor, place: Place) -> None:
        """See `Constraint`."""
        assert place.text is not None
        text = place.text[:, :, 1:]  # the start symbol is no token of the text
        if text.shape[2] < self.size:
            return
        # (B, K, number of n-grams, n): those whose first n - 1 tokens are the text's last n - 1 would be repeated
        ngrams = text.unfold(2, self.size, 1)
        context = text[:, :, text.shape[2] - self.size + 1 :]
        is_repeated = (ngrams[..., :-1] == context[:, :, None]).all(dim=-1)
        # padding is forbidden anyway, so it stands for: nothing is to be forbidden
        forbidden = torch.where(is_repeated, ngrams[..., -1], self.padding_symbol)
        scores.scatter_(2, forbidden, -math.inf)
