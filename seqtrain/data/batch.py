"""A batch: what the model sees at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B examples, padded on the right to S source and T target tokens.

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

    def __len__(self) -> int:
        """The number of examples, B."""
        return int(self.ids.shape[0])

    def to(self, device: torch.device) -> Batch:
        """The batch on another device; from pinned memory the copy does not wait."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from which a GPU copies on its own."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        tensors: dict[str, Any] = {
            field.name: function(value)
            for field in fields(self)
            if not isinstance(value := getattr(self, field.name), int) and value is not None
        }
        return replace(self, **tensors)
