"""What a way of choosing tokens promises to the search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from seqtrain.generation.constraints import Place


@dataclass(frozen=True)
class Candidates:
    """The C next tokens of each row that can be chosen.

    Attributes:
        log_probs: (B, K, C) float32.
        tokens: (B, K, C) int64.
    """

    log_probs: Tensor
    tokens: Tensor


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
        shares_first_step: Whether one distribution is enough for rows that are alike.
    """

    moves_rows: bool
    shares_first_step: bool = False

    @abstractmethod
    def narrow(self, scores: Tensor, normalizers: Tensor, place: Place) -> Candidates:
        """Choose C candidates for each row, by its own distribution; called for some sentences at a time.

        Args:
            scores: (B, K, V) float32, may be changed; (B, 1, V) in a first step that is shared.
            normalizers: (B, K, 1), what log-probabilities are less than scores; or (B, 1, 1).
            place: Where the search stands, for these sentences.
        """

    @abstractmethod
    def expand(self, candidates: Candidates, totals: Tensor, place: Place) -> Expansion:
        """Choose among the candidates of each sentence.

        Args:
            candidates: From `narrow`, for all sentences; (B, 1, C) where the first step is shared.
            totals: (B, K), the rows' sums of log-probabilities so far.
            place: Where the search stands.
        """
