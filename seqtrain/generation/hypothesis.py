"""Hypotheses, and the record of a search from which they are rebuilt.

Shapes: B sentences, K rows (hypotheses that are followed) a sentence, T steps of the search.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hypothesis:
    """What a model wrote for one input.

    Attributes:
        tokens: (T,) int64 on the CPU, the end symbol included.
        score: What hypotheses of one input are ranked by: the sum of the positional scores over a power of T.
        positional_scores: (T,) float32 on the CPU, the log-probability (natural) of each token given those before it.
    """

    tokens: Tensor
    score: float
    positional_scores: Tensor


class Endings:
    """The hypotheses that have ended, of B sentences: at most K each, in the order in which they ended.

    Attributes:
        counts: (B,) int64, how many there are.
        steps: (B, K + 1) int64, the step that wrote the end symbol. The last column of each table is a dump: surplus
            endings are written there, so that no step has to ask how many there are.
        rows: (B, K + 1) int64, the row that the end symbol was added to.
        totals: (B, K + 1), the sum of the log-probabilities.
    """

    def __init__(self, num_sentences: int, beam_size: int, device: torch.device) -> None:
        self.beam_size = beam_size
        self.counts: Tensor = torch.zeros(num_sentences, dtype=torch.long, device=device)
        self.steps: Tensor = torch.zeros(num_sentences, beam_size + 1, dtype=torch.long, device=device)
        self.rows: Tensor = torch.zeros_like(self.steps)
        self.totals: Tensor = torch.zeros(num_sentences, beam_size + 1, device=device)

    def add(self, step: int, ended: Tensor, rows: Tensor, totals: Tensor) -> None:
        """Take the candidates that end; those beyond K of a sentence are dropped, in the order of the columns.

        Args:
            step: The step of the search.
            ended: (B, K) bool, which candidates end.
            rows: (B, K) int64, the row that each continues.
            totals: (B, K), their sums of log-probabilities.
        """
        slots = self.counts[:, None] + ended.cumsum(dim=1) - 1
        is_taken = ended & (slots < self.beam_size)
        slots = torch.where(is_taken, slots, self.beam_size)
        self.steps.scatter_(1, slots, step)
        self.rows.scatter_(1, slots, rows)
        self.totals.scatter_(1, slots, totals)
        self.counts += is_taken.sum(dim=1)

    def select(self, sentences: Tensor) -> Endings:
        """Those of some sentences, (B',) int64."""
        selected = Endings(0, self.beam_size, self.counts.device)
        selected.counts, selected.steps = self.counts[sentences], self.steps[sentences]
        selected.rows, selected.totals = self.rows[sentences], self.totals[sentences]
        return selected


@dataclass(frozen=True)
class Paths:
    """The ended hypotheses of B sentences, on the CPU.

    Attributes:
        counts: (B,) int64, the hypotheses of each sentence.
        ends: (B, K) int64, the step that wrote the end symbol of each.
        tokens: (B, K, T) int64, the token of each step, up to the end.
        totals: (B, K, T), the sum of the log-probabilities up to each step.
    """

    counts: Tensor
    ends: Tensor
    tokens: Tensor
    totals: Tensor


class History:
    """What a search wrote: for each step the token of each row, its sum of log-probabilities and the row it continues.

    While the search runs the record only grows: no row's text is moved or copied when rows are re-ranked.
    """

    def __init__(self) -> None:
        self._parents: list[Tensor] = []  # T of (B, K)
        self._tokens: list[Tensor] = []
        self._totals: list[Tensor] = []

    def append(self, parents: Tensor, tokens: Tensor, totals: Tensor) -> None:
        """Record a step: (B, K) each."""
        self._parents.append(parents)
        self._tokens.append(tokens)
        self._totals.append(totals)

    def select(self, sentences: Tensor) -> History:
        """The record of some sentences, (B',) int64."""
        selected = History()
        if self._parents:
            selected._parents = list(torch.stack(self._parents)[:, sentences])
            selected._tokens = list(torch.stack(self._tokens)[:, sentences])
            selected._totals = list(torch.stack(self._totals)[:, sentences])
        return selected

    def trace(self, endings: Endings, end_symbol: int) -> Paths:
        """Walk from each ending back to the first step."""
        num_slots = endings.beam_size
        ends, rows = endings.steps[:, :num_slots].cpu(), endings.rows[:, :num_slots].cpu()
        num_steps = len(self._tokens)
        tokens = torch.full((*ends.shape, num_steps + 1), end_symbol)
        totals = endings.totals[:, :num_slots].cpu()[:, :, None].repeat(1, 1, num_steps + 1)
        if num_steps > 0:
            all_parents, all_tokens = torch.stack(self._parents).cpu(), torch.stack(self._tokens).cpu()
            all_totals = torch.stack(self._totals).cpu()
        for step in reversed(range(num_steps)):
            is_inside = step < ends
            tokens[:, :, step] = torch.where(is_inside, all_tokens[step].gather(1, rows), end_symbol)
            totals[:, :, step] = torch.where(is_inside, all_totals[step].gather(1, rows), totals[:, :, step])
            rows = torch.where(is_inside, all_parents[step].gather(1, rows), rows)
        return Paths(endings.counts.cpu(), ends, tokens, totals)
