"""Keys and values of a decoder that compiled kernels read: each row has a list of the slots that it descends from.

Shapes: B sentences, K hypotheses a sentence, N = B * K rows, D features, C slots of a sentence, T tokens of a
beginning, S memory tokens, t steps so far.

As in `TransformerCache` nothing moves when hypotheses continue others. A row reads its own t slots alone instead of all
of its sentence, and sentences that are done stay where they are: only the numbers of the others are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqtrain.models.base import DecoderCache
from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.decoding_kernels import Attention, DecodingKernels

__all__ = ["RowCache"]

_FIRST_STEPS = 32  # room at the start, in steps


class RowCache(DecoderCache):
    """The cache of a prepared decoder with compiled kernels.

    Args:
        empty: Its sentences and their memory are taken over.
        kernels: What reads the cache.

    Attributes:
        num_steps: Tokens that every hypothesis has so far, the one being read included.
        batch_size: B.
        beam_size: K.
    """

    def __init__(self, empty: TransformerCache, kernels: DecodingKernels) -> None:
        assert empty.num_steps == 0, "nothing was written yet"
        self.num_steps = 0
        self.batch_size = empty.batch_size
        self.beam_size = empty.beam_size
        self._kernels = kernels
        self._num_places = self.batch_size  # B'
        self._places: Tensor = torch.arange(self.batch_size)  # (B,) where in the tensors below a sentence is
        self._memory = [_interleaved(key, value) for key, value in empty.memory or []]  # (B', S, 2, D)
        self._memory_lengths: Tensor = torch.empty(0, dtype=torch.long)  # (B',)
        if self._memory:
            self._memory_lengths = torch.full((self.batch_size,), self._memory[0].shape[1])
            if empty.memory_bias is not None:  # padding stands on the right
                self._memory_lengths = (empty.memory_bias == 0).flatten(1).sum(dim=1)
        self._slots: dict[int, Tensor] = {}  # of each layer (B', C, 2, D), in the format in which keys come
        self._capacity = _FIRST_STEPS * self.beam_size
        self._first = 0  # slot of the newest step
        self._num_newest = 0  # slots of the newest step
        self._read: Tensor = torch.empty(self.batch_size * self.beam_size, 0, dtype=torch.int32)  # (N, t) ancestors

    @property
    def num_slots(self) -> int:
        """C, for which there is room."""
        return self._capacity

    def start_step(self, num_rows: int) -> None:
        """Make room for a token of each hypothesis; of a sentence K rows are read, or 1 where all have that token."""
        if self._first + self._num_newest + num_rows > self._capacity:
            self._make_room()
        self._first += self._num_newest
        self._num_newest = num_rows
        self.num_steps += 1
        newest = torch.arange(self.beam_size, dtype=torch.int32).remainder_(num_rows).add_(self._first)
        self._read = torch.cat([self._read, newest.repeat(self.batch_size)[:, None]], dim=1)

    def start_reading(self, num_tokens: int) -> None:
        """Make room for what each sentence begins with, T tokens that its hypotheses share; the first that is done."""
        assert self.num_steps == 0, "nothing was written yet"
        self._capacity += num_tokens
        self.num_steps = self._num_newest = num_tokens
        self._read = torch.arange(num_tokens, dtype=torch.int32).repeat(len(self._read), 1)

    def keep_beginning(self, layer: int, projected: Tensor, sentences: slice) -> None:
        """Keep a layer's keys and values of the beginnings of some sentences: queries, keys, values (B' * T, 3 D)."""
        slots, places = self._slots_of(layer, projected), self._places[sentences]
        sizes = self._sizes(projected, slots, 1, num_read=0, num_sentences=len(places))
        self._kernels.keep(sizes, projected, slots, places, 0)

    def attend(self, layer: int, projected: Tensor, num_heads: int) -> Tensor:
        """Keep a layer's newest keys and values and attend to all of a row's: queries, keys, values (N, 3 D) -> (N, D).

        Queries are scaled. A step that reads one row a sentence has B rows.
        """
        slots = self._slots_of(layer, projected)
        read = self._read[:: self.beam_size // self._num_newest].contiguous()
        sizes = self._sizes(projected, slots, num_heads, num_read=read.shape[1])
        self._kernels.keep(sizes, projected, slots, self._places, self._first)
        return self._kernels.attend(sizes, projected, slots, self._places, read=read)

    def attend_memory(self, layer: int, query: Tensor, num_heads: int) -> Tensor:
        """Attend to the memory: scaled queries (N, D) -> (N, D)."""
        memory = self._memory[layer]
        sizes = self._sizes(query, memory, num_heads, num_read=0)
        return self._kernels.attend(sizes, query, memory, self._places, read=self._memory_lengths)

    def reorder(self, parents: Tensor) -> None:
        """See `DecoderCache`."""
        self._read = self._read.index_select(0, parents)

    def keep(self, sentences: Tensor) -> None:
        """See `DecoderCache`."""
        self._read = self._read.unflatten(0, (-1, self.beam_size))[sentences].flatten(0, 1)
        self._places = self._places[sentences]
        self.batch_size = len(sentences)

    def _slots_of(self, layer: int, projected: Tensor) -> Tensor:
        slots = self._slots.get(layer)
        if slots is None:
            width = projected.shape[1] // 3
            slots = projected.new_empty(self._num_places, self._capacity, 2, width)
            self._slots[layer] = slots
        return slots

    def _sizes(
        self, rows: Tensor, slots: Tensor, num_heads: int, *, num_read: int, num_sentences: int | None = None
    ) -> Attention:
        return Attention(
            num_rows=len(rows),
            rows_of_sentence=len(rows) // (num_sentences or self.batch_size),
            num_heads=num_heads,
            dim=slots.shape[3] // num_heads,
            query_stride=rows.shape[1],
            slots_of_sentence=slots.shape[1],
            num_read=num_read,
        )

    def _make_room(self) -> None:
        """Give up the slots that no hypothesis descends from; if that frees less than half, double the slots."""
        read = self._read.view(self.batch_size, -1).long()  # (B, K * t)
        is_live = torch.zeros(self.batch_size, self._capacity, dtype=torch.bool).scatter_(1, read, True)
        num_live = int(is_live.sum(dim=1).max())
        order = is_live.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :num_live]  # live ones first
        if num_live > self._capacity // 2:
            self._capacity *= 2
        for layer, old in self._slots.items():
            new = old.new_empty(len(old), self._capacity, *old.shape[2:])
            new[self._places, :num_live] = old[self._places[:, None], order]
            self._slots[layer] = new
        numbers = is_live.cumsum(dim=1, dtype=torch.int32) - 1  # of each slot among those that are kept
        self._read = numbers.gather(1, read).view_as(self._read)
        self._first, self._num_newest = num_live, 0


def _interleaved(key: Tensor, value: Tensor) -> Tensor:
    """Keys and values (B, H, S, d) -> (B, S, 2, D)."""
    return torch.stack([one.transpose(1, 2).flatten(2) for one in (key, value)], dim=2)
