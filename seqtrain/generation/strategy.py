"""What a way of choosing tokens promises to the search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from seqtrain.generation.constraints import Place


@dataclass(frozen=True)
class Expansion:
    """One step further: which candidates end, and which rows the search goes on with, for B sentences of K rows.

    Attributes:
        ended: (B, K) bool, which of the K best candidates end here, best first.
        ended_rows: (B, K) int64, the row that each continues.
        ended_totals: (B, K), their sums of log-probabilities.
        parents: (B, K) int64, the row that each new row continues.
        tokens: (B, K) int64, the token that each new row adds.
        totals: (B, K), the new rows' sums of log-probabilities; minus infinity for a row that is to be ignored.
    """

    ended: Tensor
    ended_rows: Tensor
    ended_totals: Tensor
    parents: Tensor
    tokens: Tensor
    totals: Tensor


class Strategy(ABC):
    """Chooses tokens.

    Attributes:
        moves_rows: Whether a row may continue another than itself.
    """

    moves_rows: bool

    @abstractmethod
    def expand(self, log_probs: Tensor, totals: Tensor, place: Place) -> Expansion:
        """Choose.

        Args:
            log_probs: (B, K, V) float32, of each row's next token.
            totals: (B, K), the rows' sums of log-probabilities so far.
            place: Where the search stands.
        """
