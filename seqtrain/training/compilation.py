"""torch.compile of the loss of a batch, model and criterion together, with a bounded number of graphs.

Every number of sentences and tokens would make a graph of its own. In a padded batch all of them are marked as
unknown, so that there are two graphs for all shapes: sources with padding and without. A packed batch has one shape,
and one graph. What torch.compile traces has torch's own operators alone; see `seqtrain.nn.own_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.criterions.base import LossOutput
from seqtrain.data.batch import Batch

__all__ = ["CompileOptions", "CompiledLoss", "compile_parts"]


@dataclass(frozen=True)
class CompileOptions:
    """How a loss is compiled.

    Attributes:
        backend: torch.compile's: what makes kernels of a graph.
        is_one_graph: Whether it is an error if a graph ends early; else Python runs between two graphs.
        is_deterministic: Whether kernels must give the same bits in each run, which rules out choosing them by time.
    """

    backend: str | Callable[..., Any] = "inductor"
    is_one_graph: bool = False
    is_deterministic: bool = False

    @property
    def for_inductor(self) -> dict[str, Any]:
        """Settings of torch's own backend."""
        return {"deterministic": True} if self.is_deterministic and self.backend == "inductor" else {}


class CompiledLoss:
    """The loss of a training batch, compiled when the first one comes.

    It computes what it was made of, but for dropout, whose random numbers follow from the same seeds in another way.
    """

    def __init__(self, compute: Callable[[Batch], LossOutput], options: CompileOptions | None = None) -> None:
        """Nothing is compiled yet.

        Args:
            compute: The loss of a batch, a function of its tensors and numbers of tokens.
            options: How.
        """
        options = options or CompileOptions()
        self._compute = compute
        self._compiled = torch.compile(
            self._compute_with_numbers,
            backend=options.backend,
            fullgraph=options.is_one_graph,
            options=options.for_inductor or None,
        )

    def __call__(self, batch: Batch) -> LossOutput:
        """The loss of a batch.

        One with a dimension of one is computed as it is: torch never takes a one for any number, and would make
        graphs for each such case.
        """
        tensors = list(_tensors_of_any_size(batch))
        if any(size < 2 for tensor in tensors for size in tensor.shape):
            return self._compute(batch)
        numbers = (torch.empty(batch.num_tokens, 0), torch.empty(batch.num_source_tokens, 0))
        for tensor in (*tensors, *(number for number in numbers if len(number) > 1)):
            for dimension in range(1 if tensor.numel() == 0 else tensor.ndim):
                torch._dynamo.maybe_mark_dynamic(tensor, dimension)  # a model may be bound to one size
        # What is compiled must not see numbers that change from batch to batch: each would be another graph.
        constant = replace(batch, num_tokens=0, num_source_tokens=0, is_filler=False)
        output: LossOutput = self._compiled(constant, *numbers)
        return output

    def _compute_with_numbers(self, batch: Batch, targets: Tensor, sources: Tensor) -> LossOutput:
        """The loss of a batch whose numbers of tokens are the lengths of two empty tensors, which may be unknown."""
        return self._compute(replace(batch, num_tokens=targets.shape[0], num_source_tokens=sources.shape[0]))


def _tensors_of_any_size(batch: Batch) -> Iterator[Tensor]:
    """The tensors whose shapes differ from batch to batch, in all dimensions."""
    yield batch.ids
    yield batch.target_positions
    if batch.source_lengths is not None:
        yield batch.source_lengths
    if batch.is_packed:
        return
    yield batch.previous_tokens
    yield batch.targets
    if batch.source_tokens is not None:
        yield batch.source_tokens


def compile_parts(parts: Iterable[nn.Module], options: CompileOptions) -> None:
    """Compile the training passes of some modules, each for itself; they keep their names, hooks and parameters.

    For modules that cannot be one graph, because something happens between them: with fully sharded parameters those
    of a layer are gathered just before its pass. Each shape makes graphs of its own: this is for packed batches.
    """
    for part in parts:
        eager = part.forward
        compiled = torch.compile(
            eager,
            backend=options.backend,
            fullgraph=options.is_one_graph,
            options=options.for_inductor or None,
        )
        part.forward = partial(_forward, part, eager, compiled)


def _forward(
    part: nn.Module, eager: Callable[..., Any], compiled: Callable[..., Any], *arguments: Any, **named: Any
) -> Any:
    chosen = compiled if part.training and torch.is_grad_enabled() else eager
    return chosen(*arguments, **named)
