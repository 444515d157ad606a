"""Beam search."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from seqtrain.generation.constraints import Place
from seqtrain.generation.strategy import Candidates, Expansion, Strategy
from seqtrain.generation.top_k import top_k


class BeamSearch(Strategy):
    """Follows the K most probable hypotheses at a time; K = 1 is greedy search.

    At each step the 2 K best one-token continuations of a sentence's K rows are ranked. Those among the first K that
    write the end symbol are finished; the K best that do not go on. As a row has only one continuation that ends, at
    least K of the 2 K go on, so that the beam stays full after some hypotheses have ended.

    Args:
        end_symbol: Ends a hypothesis.
        beam_size: K.
        select: `top_k`, or what finds the same.
    """

    shares_first_step = True

    def __init__(
        self, end_symbol: int, beam_size: int, *, select: Callable[[Tensor, int], tuple[Tensor, Tensor]] = top_k
    ) -> None:
        self.end_symbol = end_symbol
        self.select = select
        self.beam_size = beam_size
        self.moves_rows = beam_size > 1

    def narrow(self, scores: Tensor, normalizers: Tensor, place: Place) -> Candidates:
        """See `Strategy`: K that go on and one that ends are all that a row can give to the 2 K best."""
        values, tokens = self.select(scores, self.beam_size + 1)  # (B, K, V) -> (B, K, K + 1)
        return Candidates(values - normalizers, tokens)

    def expand(self, candidates: Candidates, totals: Tensor, place: Place) -> Expansion:
        """See `Strategy`."""
        beam_size = self.beam_size
        if place.is_first is not None and beam_size > 1:
            totals = totals.clone()
            totals[:, 1:].masked_fill_(place.is_first[:, None], -math.inf)  # rows that are alike count once
        sums = (candidates.log_probs + totals[:, :, None]).flatten(1)  # (B, K, K + 1) -> (B, K * (K + 1))
        ranked = sums.topk(2 * beam_size, dim=1)  # -> (B, 2 K), best first
        rows = ranked.indices // (beam_size + 1)
        tokens = candidates.tokens.expand(-1, beam_size, -1).flatten(1).gather(1, ranked.indices)
        is_end = tokens == self.end_symbol
        going_on = self._first_that_go_on(is_end, beam_size)  # (B, K)
        return Expansion(
            ended=is_end[:, :beam_size] & (ranked.values[:, :beam_size] != -math.inf),
            ended_rows=rows[:, :beam_size],
            ended_totals=ranked.values[:, :beam_size],
            parents=rows.gather(1, going_on),
            tokens=tokens.gather(1, going_on),
            totals=ranked.values.gather(1, going_on),
        )

    @staticmethod
    def _first_that_go_on(is_end: Tensor, beam_size: int) -> Tensor:
        """The ranks (B, K) of the first K candidates of (B, 2 K) that do not end."""
        ranks = torch.arange(2 * beam_size, device=is_end.device) + 2 * beam_size * is_end
        return ranks.topk(beam_size, dim=1, largest=False, sorted=True).values % (2 * beam_size)
