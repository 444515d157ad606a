"""The keys and values that a Transformer decoder keeps between two steps of generation.

Shapes: B sentences, K hypotheses a sentence, N = B * K rows, H heads, C slots, d features of a head, T tokens of a
beginning, S memory tokens.

Each step writes the keys and values of a sentence's K hypotheses into K new slots, where they stay: when the search
lets hypotheses continue others, only the record of ancestry is gathered, which says what slots each one descends from.
The K hypotheses attend to all slots of their sentence in one matrix product, and the record is the mask. When the slots
are used up, those that no hypothesis descends from any more are given up first: old steps come down to one slot each,
so that long texts cost little more than their length.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqtrain.models.base import DecoderCache

__all__ = ["TransformerCache"]

_FIRST_STEPS = 32  # room at the start, in steps
_STEPS_BETWEEN_SWEEPS = 4
_SHARE_WORTH_A_SWEEP = 0.7


class TransformerCache(DecoderCache):
    """The cache of a `DecoderStack`, for B * K hypotheses.

    Attributes:
        num_steps: Tokens that every hypothesis has so far, the one being read included.
        memory: Of each layer, the keys and values (B, H, S, d) of the memory, which a sentence's hypotheses share.
        memory_bias: (B, 1, 1, S), hides the memory's padding.
        dtype: The number format in which keys and values are kept; None keeps that in which they come.
    """

    def __init__(self, num_layers: int, batch_size: int, beam_size: int) -> None:
        self.num_steps = 0
        self.memory: list[tuple[Tensor, Tensor]] | None = None
        self.memory_bias: Tensor | None = None
        self.dtype: torch.dtype | None = None
        self.batch_size = batch_size
        self.beam_size = beam_size
        self._capacity = _FIRST_STEPS * beam_size
        self._num_slots = 0
        self._num_newest = beam_size  # slots of the newest step
        self._slots: list[tuple[Tensor, Tensor] | None] = [None] * num_layers  # keys and values (B, H, C, d)
        self._ancestry: Tensor | None = None  # (B, K, C), 0 on the slots of a hypothesis' history, else -inf

    @property
    def ancestry_bias(self) -> Tensor | None:
        """To be added to attention scores, (B, 1, K, C), or (B, 1, 1, C) in a step that reads one row a sentence.

        None for single hypotheses, which see every slot.
        """
        return None if self._ancestry is None else self._ancestry[:, None, : self._num_newest, : self._num_slots]

    def start_step(self, device: torch.device, num_rows: int | None = None) -> None:
        """Make room for a token of each hypothesis.

        Args:
            device: Of the keys.
            num_rows: The rows that are read of each sentence: K, which None stands for, or 1 for a token that all its
                hypotheses have.
        """
        self._num_newest = self.beam_size if num_rows is None else num_rows
        is_due = device.type == "cpu" and self.num_steps % _STEPS_BETWEEN_SWEEPS == 0  # a GPU's host would have to wait
        if self._num_slots + self._num_newest > self._capacity or (is_due and self._ancestry is not None):
            self._make_room()
        self.num_steps += 1
        self._num_slots += self._num_newest
        if self.beam_size > 1:
            if self._ancestry is None:
                shape = (self.batch_size, self.beam_size, self._capacity)
                self._ancestry = torch.full(shape, float("-inf"), device=device)
            newest = self._ancestry[:, :, self._num_slots - self._num_newest : self._num_slots]
            if self._num_newest == 1:
                newest.zero_()  # (B, K, 1)
            else:
                newest.diagonal(dim1=1, dim2=2).zero_()  # of (B, K, K)

    def start_reading(self, num_tokens: int, device: torch.device) -> None:
        """Make room for what each sentence begins with, T tokens that its hypotheses share; the first that is done."""
        assert self.num_steps == 0, "nothing was written yet"
        self._capacity += num_tokens
        self.num_steps = self._num_slots = num_tokens
        if self.beam_size > 1:
            shape = (self.batch_size, self.beam_size, self._capacity)
            self._ancestry = torch.full(shape, float("-inf"), device=device)
            self._ancestry[:, :, :num_tokens] = 0

    def keep_beginning(self, layer: int, key: Tensor, value: Tensor, sentences: slice) -> None:
        """Keep a layer's keys and values of the beginnings of some sentences, (B', H, T, d)."""
        slots = self._slots_of(layer, key)
        slots[0][sentences, :, : self._num_slots] = key
        slots[1][sentences, :, : self._num_slots] = value

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's newest keys and values, (B, H, K or 1, d); returns all that it has, (B, H, C, d)."""
        slots = self._slots_of(layer, key)
        new = slice(self._num_slots - self._num_newest, self._num_slots)
        slots[0][:, :, new] = key
        slots[1][:, :, new] = value
        return slots[0][:, :, : self._num_slots], slots[1][:, :, : self._num_slots]

    def reorder(self, parents: Tensor) -> None:
        """See `DecoderCache`."""
        if self._ancestry is None:
            return  # a single hypothesis can only continue itself
        rows = (parents % self.beam_size).view(self.batch_size, self.beam_size, 1)
        used = self._ancestry[:, :, : self._num_slots]
        self._ancestry[:, :, : self._num_slots] = used.gather(1, rows.expand(-1, -1, self._num_slots))

    def keep(self, sentences: Tensor) -> None:
        """See `DecoderCache`."""
        self.batch_size = len(sentences)
        self._slots = [None if slots is None else self._select(slots, sentences) for slots in self._slots]
        if self._ancestry is not None:
            self._ancestry = self._ancestry[sentences]
        if self.memory is not None:
            self.memory = [(key[sentences], value[sentences]) for key, value in self.memory]
        if self.memory_bias is not None:
            self.memory_bias = self.memory_bias[sentences]

    def _slots_of(self, layer: int, key: Tensor) -> tuple[Tensor, Tensor]:
        """Of a layer with such keys (B', H, T, d), for all sentences."""
        slots = self._slots[layer]
        if slots is None:
            shape = (self.batch_size, key.shape[1], self._capacity, key.shape[3])
            slots = key.new_empty(shape, dtype=self.dtype), key.new_empty(shape, dtype=self.dtype)
            self._slots[layer] = slots
        return slots

    def _select(self, slots: tuple[Tensor, Tensor], sentences: Tensor) -> tuple[Tensor, Tensor]:
        key, value = (self._select_one(tensor, sentences) for tensor in slots)
        return key, value

    def _select_one(self, old: Tensor, sentences: Tensor) -> Tensor:
        new = old.new_empty(len(sentences), *old.shape[1:])
        new[:, :, : self._num_slots] = old[:, :, : self._num_slots].index_select(0, sentences)  # the rest is not used
        return new

    def _make_room(self) -> None:
        """Give up the slots that no hypothesis descends from; if that frees less than half, double the slots.

        Nothing is done where there is room left and most slots are in use.
        """
        used, room = self._num_slots, self._capacity
        is_full = used + self._num_newest > room
        order: Tensor | None = None
        if self._ancestry is not None:
            is_live = (self._ancestry[:, :, :used] == 0).any(dim=1)  # (B, C)
            num_live = int(is_live.sum(dim=1).max())
            if not is_full and num_live > _SHARE_WORTH_A_SWEEP * used:
                return
            used = num_live
            order = is_live.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :used]  # (B, C')
        if is_full and used > room // 2:
            room *= 2
        self._slots = [None if slots is None else self._move(slots, order, room) for slots in self._slots]
        if self._ancestry is not None and order is not None:
            moved = self._ancestry.new_full((*self._ancestry.shape[:2], room), float("-inf"))
            moved[:, :, :used] = self._ancestry.gather(2, order[:, None].expand(-1, self.beam_size, -1))
            self._ancestry = moved
        self._num_slots, self._capacity = used, room

    def _move(self, slots: tuple[Tensor, Tensor], order: Tensor | None, room: int) -> tuple[Tensor, Tensor]:
        """Copy slots into tensors with more room, or those in the order (B, C') alone."""
        key, value = (self._move_one(tensor, order, room) for tensor in slots)
        return key, value

    def _move_one(self, old: Tensor, order: Tensor | None, room: int) -> Tensor:
        batch, heads, old_room, dim = old.shape
        new = old.new_empty(batch, heads, room, dim)
        if order is None:
            new[:, :, : self._num_slots] = old[:, :, : self._num_slots]
        else:
            starts = torch.arange(batch * heads, device=old.device).view(batch, heads, 1) * old_room
            rows = (starts + order[:, None]).flatten()  # (B, H, C'), of all heads' slots in a row
            new[:, :, : order.shape[1]] = old.view(-1, dim)[rows].view(batch, heads, -1, dim)
        return new
