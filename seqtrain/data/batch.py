"""A batch: what the model sees at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_Record = TypeVar("_Record", "Batch", "PackedTokens")


@dataclass(frozen=True)
class PackedTokens:
    """Where the tokens of one side of a packed batch stand: N tokens in R rows, sentence after sentence.

    For attention they are cut into Q segments: the sentences, then pieces of the rows that stand for no token, then
    empty ones. And they have places in A attention rows of L places, each with a few whole sentences: sentence i is in
    the same attention row on both sides. All sizes are the same for every batch of a dataset.

    Attributes:
        bounds: (Q + 1,) int32: segment i is the rows bounds[i] ... bounds[i + 1] - 1.
        columns: (R,) int64, the column of each token in its sentence; 0 where there is none.
        places: (R,) int64, where each row stands in the flattened attention rows; rows without a token share a place
            that no token has.
        rows: (A, L) int64, the row of each place; the last row, which has no token, where there is none.
        sequences: (A, L) int32, the number of the sentence in each place; -1 where there is none.
        num_columns: Tokens of the longest sentence that any batch has.
    """

    bounds: Tensor
    columns: Tensor
    places: Tensor
    rows: Tensor
    sequences: Tensor
    num_columns: int


@dataclass(frozen=True)
class Batch:
    """B examples, padded on the right to S source and T target tokens; or packed.

    In a packed batch all targets stand in one row, (1, R), sentence after sentence, with padding at the end; likewise
    the previous tokens, and the sources in a row of another length. Only a model that says so gets such batches
    (`Model.takes_packed_batches`).

    Attributes:
        ids: (B,) int64, the examples' numbers in their dataset.
        previous_tokens: (B, T) int64, the decoder's input: column t holds the token before target t.
        targets: (B, T) int64, padded with the vocabulary's padding symbol.
        target_positions: (N,) int64, where the N targets that are no padding stand in `targets.flatten()`, ascending.
            Made on the host, for finding them on a GPU would make the host wait.
        num_tokens: N.
        num_source_tokens: Source tokens that are no padding; 0 without sources.
        source_tokens: (B, S) int64, or None for a language model.
        source_lengths: (B,) int64, the end symbol included, or None.
        is_filler: Whether it counts for nothing: a process that has no share in the end of an epoch computes it because
            the others wait for it.
        packed_targets: Where the target tokens of a packed batch stand; None in a padded one.
        packed_sources: Likewise the source tokens.
    """

    ids: Tensor
    previous_tokens: Tensor
    targets: Tensor
    target_positions: Tensor
    num_tokens: int
    source_tokens: Tensor | None = None
    source_lengths: Tensor | None = None
    is_filler: bool = False
    num_source_tokens: int = 0
    packed_targets: PackedTokens | None = None
    packed_sources: PackedTokens | None = None

    def __len__(self) -> int:
        """The number of examples, B."""
        return int(self.ids.shape[0])

    @property
    def is_packed(self) -> bool:
        """Whether the sentences stand one after the other."""
        return self.packed_targets is not None

    @property
    def has_source_padding(self) -> bool:
        """Whether a padded batch has sources of several lengths, as the host knows."""
        return self.source_tokens is not None and self.num_source_tokens < self.source_tokens.numel()

    def to(self, device: torch.device) -> Batch:
        """The batch on another device; from pinned memory the copy does not wait."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from which a GPU copies on its own."""
        return self.map(lambda tensor: tensor.pin_memory())

    def tensors(self) -> Iterator[Tensor]:
        """All its tensors."""
        for record in (self, self.packed_targets, self.packed_sources):
            for field in () if record is None else fields(record):
                value = getattr(record, field.name)
                if value is not None and not isinstance(value, int | PackedTokens):
                    yield value

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with other tensors, each made of one of its own."""
        return _map_tensors(self, function)


def _map_tensors(record: _Record, function: Callable[[Tensor], Tensor]) -> _Record:
    """A copy of a dataclass, its tensors and those of the dataclasses in it replaced."""
    changes: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, PackedTokens):
            changes[field.name] = _map_tensors(value, function)
        elif value is not None and not isinstance(value, int):
            changes[field.name] = function(value)
    return replace(record, **changes)
