"""The search for hypotheses: one batch, token by token.

Shapes: B sentences, K rows a sentence, N = B * K rows, L tokens of the longest beginning, V entries of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqtrain.generation.constraints import Constraint, Place
from seqtrain.generation.decoder import Decoder
from seqtrain.generation.hypothesis import Endings, History, Hypothesis
from seqtrain.generation.predictions import Predictions
from seqtrain.generation.scoring import LengthPenalty, make_hypotheses
from seqtrain.generation.strategy import Candidates, Expansion, Strategy

_STEPS_BETWEEN_POLLS = 8  # on a GPU, where asking how many sentences are done makes the host wait
_ROWS_AT_ONCE = 120  # whose distributions a CPU's caches hold
_SHARE_THAT_LEAVES = 0.125  # of the sentences of a batch; each time that some leave, the caches are copied
_GRANULARITY = 4  # of the sentences that stay: oneDNN makes kernels for each new number of rows


@dataclass(frozen=True)
class Start:
    """What B sentences begin with.

    Attributes:
        ids: (B,) int64, the sentences' numbers.
        tokens: (B, L) int64, padded on the right: the start symbol, then what each text is made to begin with.
        lengths: (B,) int64, the tokens of each beginning, 1 or more.
        origins: (B,) int64, the step that writes the hypothesis's first token: step t follows token t of the text. 0
            where the beginning is part of the hypothesis, lengths - 1 where only what follows it is.
        max_lengths: (B,) int64, the most tokens that a hypothesis may have before the end symbol.
    """

    ids: Tensor
    tokens: Tensor
    lengths: Tensor
    origins: Tensor
    max_lengths: Tensor

    def select(self, sentences: Tensor) -> Start:
        """Some sentences, (B',) int64."""
        return Start(
            self.ids[sentences],
            self.tokens[sentences],
            self.lengths[sentences],
            self.origins[sentences],
            self.max_lengths[sentences],
        )


@dataclass(frozen=True)
class Rules:
    """What a search goes by, beside the model.

    Attributes:
        padding_symbol: Never written.
        end_symbol: Ends a hypothesis.
        unknown_symbol: Is made dearer by `unk_penalty`.
        unk_penalty: Subtracted from the unknown symbol's log-probability.
        constraints: Forbid tokens.
        length_penalty: Ranks what has ended.
        num_best: Hypotheses that are returned for each sentence.
    """

    padding_symbol: int
    end_symbol: int
    unknown_symbol: int
    unk_penalty: float
    constraints: Sequence[Constraint]
    length_penalty: LengthPenalty
    num_best: int


class Search:
    """Writes the hypotheses of one batch.

    A sentence is done when K of its hypotheses have ended or its greatest length is reached; there is no early stop,
    so that the scores are those of an exhaustive beam. Sentences that are done leave the batch in groups.

    Args:
        decoder: The model at work.
        strategy: Chooses the tokens.
        rules: What may be written, and what it is worth.
        start: What the sentences begin with.
        beam_size: K.

    Attributes:
        poll_interval: Steps after which the host asks how many sentences are done.
    """

    def __init__(self, decoder: Decoder, strategy: Strategy, *, rules: Rules, start: Start, beam_size: int) -> None:
        device = start.tokens.device
        num_sentences = start.tokens.shape[0]
        self.decoder = decoder
        self.strategy = strategy
        self.rules = rules
        self.start = start
        self.beam_size = beam_size
        self.poll_interval: int = _STEPS_BETWEEN_POLLS if device.type == "cuda" else 1
        self.sentences: Tensor = torch.arange(num_sentences, device=device)  # (B,) numbers in the batch
        self.tokens: Tensor = start.tokens[:, :1].expand(-1, beam_size)  # (B, K) written last
        self.totals: Tensor = torch.zeros(num_sentences, beam_size, device=device)  # sums of log-probabilities
        self.parents: Tensor | None = None  # (B, K) that the decoder has yet to follow
        self.text: Tensor | None = None  # (B, K, t) all tokens so far, where a rule reads them
        if any(constraint.reads_text for constraint in rules.constraints):
            self.text = self.tokens[:, :, None]
        self.endings = Endings(num_sentences, beam_size, device)
        self.history = History()
        self.results: list[list[Hypothesis]] = [[] for _ in range(num_sentences)]
        self._measure()

    def _measure(self) -> None:
        """Bounds over the sentences as plain numbers, so that steps need not ask the device."""
        bounds = torch.stack([self.start.lengths, self.start.origins, self.start.origins + self.start.max_lengths])
        lengths, origins, ends = bounds.tolist()
        self.origins: list[int] = origins
        self.shortest_beginning: int = min(lengths)
        self.longest_beginning: int = max(lengths)
        self.last_origin: int = max(origins)
        self.first_end: int = min(ends)
        self.last_end: int = max(ends)

    def run(self) -> list[list[Hypothesis]]:
        """Write until every sentence is done.

        Returns:
            For each sentence its hypotheses, best first.
        """
        step = self._read_beginnings()
        while self.origins:
            self._advance(step)
            if (step + 1) % self.poll_interval == 0 or step >= self.last_end:
                self._release(step)
            step += 1
        return self.results

    def _read_beginnings(self) -> int:
        """Let the decoder read what all texts begin with, where no hypothesis holds any of it.

        Returns:
            The step with which the search goes on.
        """
        num_read = self.shortest_beginning - 1
        if num_read == 0 or min(self.origins) < num_read:
            return 0
        self.decoder.read(self.start.tokens[:, :num_read], self.beam_size)
        rows = torch.arange(self.beam_size, device=self.tokens.device).expand_as(self.tokens)
        for step in range(num_read):
            self.tokens = self._next_of_beginning(step)
            self.history.append(rows, self.tokens, self.totals)
        if self.text is not None:
            self.text = self.start.tokens[:, None, : num_read + 1].expand(-1, self.beam_size, -1)
        return num_read

    def _advance(self, step: int) -> None:
        """Write one token a row."""
        if self.parents is not None:
            offsets = torch.arange(self.parents.shape[0], device=self.parents.device) * self.beam_size
            self.decoder.reorder((self.parents + offsets[:, None]).flatten())
        place = self._place(step)
        is_shared = self._shares_first_step and step == 0
        tokens = self.tokens[:, 0] if is_shared else self.tokens.flatten()
        predictions = self.decoder.step(tokens)
        self._take(step, self._choose(predictions, place, num_rows=1 if is_shared else self.beam_size))

    @property
    def _shares_first_step(self) -> bool:
        """Whether the rows of a sentence are alike at first, and model and strategy make use of it."""
        return self.longest_beginning == 1 and self.decoder.shares_first_step and self.strategy.shares_first_step

    def _choose(self, predictions: Predictions, place: Place, *, num_rows: int) -> Expansion:
        """Let sentences that are inside their beginning read on, and the others choose.

        Args:
            predictions: Of all rows.
            place: Where the search stands.
            num_rows: Of a sentence.
        """
        num_sentences = self.tokens.shape[0]
        forced: list[Tensor] = []
        candidates: list[Candidates] = []
        num_at_once = self._num_sentences_at_once(num_rows)
        for first in range(0, num_sentences, num_at_once):
            sentences = slice(first, min(first + num_at_once, num_sentences))
            distribution = predictions.rows(slice(first * num_rows, sentences.stop * num_rows))
            scores = distribution.scores.unflatten(0, (-1, num_rows))  # (B', K, V)
            normalizers = distribution.normalizers.unflatten(0, (-1, num_rows))  # (B', K, 1)
            self._punish(scores)
            if place.step + 1 < self.longest_beginning:
                forced.append(self._gains(scores, place.step, sentences) - normalizers[:, :, 0])
            if place.step + 1 >= self.shortest_beginning:
                here = place.of(sentences)
                for constraint in self.rules.constraints:
                    constraint.apply(scores, here)
                candidates.append(self.strategy.narrow(scores, normalizers, here))
        if not candidates:
            return self._forced(torch.cat(forced), place)
        chosen = self.strategy.expand(_joined(candidates), self.totals, place)
        return chosen if not forced else self._merge(place.step, chosen, self._forced(torch.cat(forced), place))

    def _num_sentences_at_once(self, num_rows: int) -> int:
        """Few enough that a CPU's caches hold their distributions; on a GPU all."""
        if self.tokens.device.type != "cpu":
            return self.tokens.shape[0]
        return max(1, _ROWS_AT_ONCE // num_rows)

    def _punish(self, scores: Tensor) -> None:
        scores[:, :, self.rules.padding_symbol] = -math.inf
        if self.rules.unk_penalty != 0:
            scores[:, :, self.rules.unknown_symbol] -= self.rules.unk_penalty

    def _gains(self, scores: Tensor, step: int, sentences: slice) -> Tensor:
        """The scores (B', K) of the next tokens of the beginnings."""
        return scores.gather(2, self._next_of_beginning(step)[sentences, :, None])[:, :, 0]

    def _next_of_beginning(self, step: int) -> Tensor:
        return self.start.tokens[:, step + 1, None].expand(-1, self.beam_size)  # (B, K)

    def _place(self, step: int) -> Place:
        is_first = self.start.lengths == step + 1 if step < self.longest_beginning else None
        return Place(
            step=step,
            lengths=step - self.start.origins,
            max_lengths=self.start.max_lengths,
            smallest_length=step - self.last_origin,
            can_be_full=step >= self.first_end,
            ids=self.start.ids,
            is_first=is_first,
            text=self.text,
        )

    def _forced(self, gains: Tensor, place: Place) -> Expansion:
        """What happens in sentences that are still inside their beginning: every row reads on.

        Args:
            gains: (B, K), the log-probabilities of what is read.
            place: Where the search stands.
        """
        tokens = self._next_of_beginning(place.step)
        is_written = (place.lengths >= 0)[:, None]
        totals = self.totals + torch.where(is_written, gains, 0.0)
        rows = torch.arange(self.beam_size, device=tokens.device).expand_as(tokens)
        ended = (tokens == self.rules.end_symbol) & is_written
        return Expansion(ended, rows, totals, parents=rows, tokens=tokens, totals=totals)

    def _merge(self, step: int, free: Expansion, forced: Expansion) -> Expansion:
        is_forced = (self.start.lengths > step + 1)[:, None]
        return Expansion(
            ended=torch.where(is_forced, forced.ended, free.ended),
            ended_rows=torch.where(is_forced, forced.ended_rows, free.ended_rows),
            ended_totals=torch.where(is_forced, forced.ended_totals, free.ended_totals),
            parents=torch.where(is_forced, forced.parents, free.parents),
            tokens=torch.where(is_forced, forced.tokens, free.tokens),
            totals=torch.where(is_forced, forced.totals, free.totals),
        )

    def _take(self, step: int, expansion: Expansion) -> None:
        self.endings.add(step, expansion.ended, expansion.ended_rows, expansion.ended_totals)
        self.history.append(expansion.parents, expansion.tokens, expansion.totals)
        self.tokens, self.totals = expansion.tokens, expansion.totals
        self.parents = expansion.parents if self.strategy.moves_rows else None
        if self.text is not None:
            index = expansion.parents[:, :, None].expand_as(self.text)
            self.text = torch.cat([self.text.gather(1, index), expansion.tokens[:, :, None]], dim=2)

    def _release(self, step: int) -> None:
        """Let the sentences that are done leave, if they are worth a copy of the caches."""
        is_done = (self.endings.counts >= self.beam_size) | (step >= self.start.origins + self.start.max_lengths)
        num_done = int(is_done.sum())
        num_kept = -(-(len(self.origins) - num_done) // _GRANULARITY) * _GRANULARITY
        num_leaving = len(self.origins) - num_kept
        if num_kept > 0 and num_leaving < max(1, _SHARE_THAT_LEAVES * len(self.origins)):
            return
        order = is_done.to(torch.uint8).argsort(descending=True, stable=True)  # those that are done first
        self._collect(order[:num_leaving])
        self._keep(order[num_leaving:].sort().values)

    def _collect(self, done: Tensor) -> None:
        """Rebuild the hypotheses of sentences that are done, (B',) int64."""
        paths = self.history.select(done).trace(self.endings.select(done), self.rules.end_symbol)
        origins = self.start.origins[done].tolist()
        hypotheses = make_hypotheses(paths, origins, self.rules.length_penalty, num_best=self.rules.num_best)
        for sentence, found in zip(self.sentences[done].tolist(), hypotheses, strict=True):
            self.results[sentence] = found

    def _keep(self, left: Tensor) -> None:
        """Go on with these sentences, (B',) int64."""
        if len(left) == 0:
            self.origins = []
            return
        self.start = self.start.select(left)
        self.sentences, self.tokens, self.totals = self.sentences[left], self.tokens[left], self.totals[left]
        self.parents = None if self.parents is None else self.parents[left]
        self.text = None if self.text is None else self.text[left]
        self.endings, self.history = self.endings.select(left), self.history.select(left)
        self.decoder.keep(left)
        self._measure()


def _joined(parts: Sequence[Candidates]) -> Candidates:
    if len(parts) == 1:
        return parts[0]
    return Candidates(torch.cat([part.log_probs for part in parts]), torch.cat([part.tokens for part in parts]))
