"""model=my_lstm: a bidirectional LSTM encoder and an attention decoder (Bahdanau et al., 2015, arXiv:1409.0473).

Shapes: B sentences, S source tokens, T target tokens, E features of an embedding, H features of a hidden state,
V entries of the target vocabulary, R rows of the decoder: the B sentences in training, B * K hypotheses in a search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqtrain.config import Problem
from seqtrain.models import DecoderCache, EncoderDecoderModel, ModelConfig, register_model
from seqtrain.tasks import Task


@dataclass(kw_only=True)
class MyLSTMConfig(ModelConfig):
    """A bidirectional LSTM encoder and an attention decoder (Bahdanau et al., 2015)."""

    embed_dim: int = 128
    """Width of the embeddings, in features."""
    hidden_size: int = 256
    """Width of each direction of the encoder, and of the decoder, in features."""
    dropout: float = 0.1
    """Probability that a feature of an embedding or of the decoder's output is zeroed in training."""

    def problems(self) -> Iterator[Problem]:
        """Shown all at once, before any data is read."""
        for name in ("embed_dim", "hidden_size"):
            if getattr(self, name) < 1:
                yield Problem(name, f"must be at least 1, but is {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            yield Problem("dropout", f"must be in [0, 1), but is {self.dropout}")


@dataclass
class Memory:
    """The source as the decoder sees it, for R rows."""

    states: Tensor  # (R, S, 2H), the encoder's output
    keys: Tensor  # (R, S, H), the same, projected once for the attention
    is_padding: Tensor  # (R, S) bool
    first_state: Tensor  # (R, H), where the decoder starts

    def rows(self, index: Tensor) -> Memory:
        """The rows (R',) of this memory."""
        return Memory(self.states[index], self.keys[index], self.is_padding[index], self.first_state[index])


class LSTMCache(DecoderCache):
    """What generation keeps between two steps: the source, and the decoder's hidden and cell state."""

    def __init__(self, memory: Memory, beam_size: int) -> None:
        self.beam_size = beam_size
        sentences = torch.arange(memory.first_state.shape[0], device=memory.first_state.device)
        self.memory = memory.rows(sentences.repeat_interleave(beam_size))  # B sentences -> B * K rows
        self.hidden = self.memory.first_state  # (R, H)
        self.cell = torch.zeros_like(self.hidden)  # (R, H)

    def reorder(self, parents: Tensor) -> None:
        """See `DecoderCache`. The memory need not move: a row's parent has the same source."""
        self.hidden, self.cell = self.hidden[parents], self.cell[parents]

    def keep(self, sentences: Tensor) -> None:
        """See `DecoderCache`."""
        offsets = torch.arange(self.beam_size, device=sentences.device)
        rows = (sentences[:, None] * self.beam_size + offsets).flatten()
        self.memory = self.memory.rows(rows)
        self.hidden, self.cell = self.hidden[rows], self.cell[rows]


@register_model("my_lstm", MyLSTMConfig)
class MyLSTM(EncoderDecoderModel):
    """Built with its config and the task, whose vocabularies say how many embeddings there are."""

    def __init__(self, config: MyLSTMConfig, task: Task) -> None:
        super().__init__(config, task)
        source, target = task.source_vocabulary, task.target_vocabulary
        assert source is not None, "an encoder-decoder model is built for a task with sources"
        embed_dim, hidden_size = config.embed_dim, config.hidden_size
        self.source_embedding = nn.Embedding(len(source), embed_dim, padding_idx=source.pad)
        self.target_embedding = nn.Embedding(len(target), embed_dim, padding_idx=target.pad)
        self.encoder = nn.LSTM(embed_dim, hidden_size, batch_first=True, bidirectional=True)
        self.first_state = nn.Linear(hidden_size, hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.key = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        self.energy = nn.Linear(hidden_size, 1, bias=False)
        self.cell = nn.LSTMCell(embed_dim + 2 * hidden_size, hidden_size)
        self.readout = nn.Linear(3 * hidden_size + embed_dim, embed_dim)
        self.output = nn.Linear(embed_dim, len(target))
        self.dropout = nn.Dropout(config.dropout)

    # Training: every target token is predicted from the ones before it.

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        """See `EncoderDecoderModel`."""
        memory = self.encode(source_tokens, source_lengths)
        embedded = self.dropout(self.target_embedding(previous_tokens))  # (B, T) -> (B, T, E)
        hidden, cell = memory.first_state, torch.zeros_like(memory.first_state)
        features = []
        for column in embedded.unbind(dim=1):
            feature, hidden, cell = self.step(column, hidden, cell, memory)
            features.append(feature)
        logits: Tensor = self.output(self.dropout(torch.stack(features, dim=1)))  # (B, T, E) -> (B, T, V)
        return logits

    def step(self, embedded: Tensor, hidden: Tensor, cell: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """One target token of R rows: embedded (R, E), hidden and cell (R, H) -> features (R, E), hidden, cell."""
        context = self.attend(hidden, memory)
        hidden, cell = self.cell(torch.cat([embedded, context], dim=-1), (hidden, cell))
        feature = torch.tanh(self.readout(torch.cat([hidden, context, embedded], dim=-1)))
        return feature, hidden, cell

    def attend(self, hidden: Tensor, memory: Memory) -> Tensor:
        """The mean (R, 2H) of the source states, weighted by softmax(v tanh(W hidden + U state))."""
        energies = self.energy(torch.tanh(self.query(hidden)[:, None] + memory.keys)).squeeze(-1)  # (R, S)
        weights = energies.masked_fill(memory.is_padding, float("-inf")).softmax(dim=-1)
        return torch.bmm(weights[:, None], memory.states).squeeze(1)

    # Generation. A model without these three methods can be decoded too: the whole prefix is then run at each step.

    def encode(self, source_tokens: Tensor, source_lengths: Tensor) -> Memory:
        """See `EncoderDecoderModel`."""
        embedded = self.dropout(self.source_embedding(source_tokens))  # (B, S) -> (B, S, E)
        # Packed, so that the backward direction starts at a sentence's last token and not in its padding.
        packed = nn.utils.rnn.pack_padded_sequence(
            embedded, source_lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        packed_states, (last_hidden, _) = self.encoder(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(
            packed_states, batch_first=True, total_length=source_tokens.shape[1]
        )
        positions = torch.arange(source_tokens.shape[1], device=source_tokens.device)
        return Memory(
            states=states,
            keys=self.key(states),
            is_padding=positions >= source_lengths[:, None],  # (B, S)
            first_state=torch.tanh(self.first_state(last_hidden[1])),  # of the backward direction
        )

    def init_cache(self, encoded: Memory, beam_size: int) -> LSTMCache:
        """See `EncoderDecoderModel`."""
        return LSTMCache(encoded, beam_size)

    def decode_step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """See `EncoderDecoderModel`."""
        assert isinstance(cache, LSTMCache)
        embedded = self.dropout(self.target_embedding(tokens))  # (R,) -> (R, E)
        feature, cache.hidden, cache.cell = self.step(embedded, cache.hidden, cache.cell, cache.memory)
        logits: Tensor = self.output(self.dropout(feature))  # (R, V)
        return logits
