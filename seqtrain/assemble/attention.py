"""Config to the form of training batches and what computes attention: whether they can be had, and which is fastest."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from seqtrain.assemble.components import Runtime, longest_positions
from seqtrain.config.root import AttentionBackend, BatchForm, TrainConfig
from seqtrain.errors import ConfigError

if TYPE_CHECKING:
    from seqtrain.data.batch import Batch
    from seqtrain.models.base import Model
    from seqtrain.nn.attention_probe import AttentionProblem
    from seqtrain.nn.attention_shape import AttentionSize
    from seqtrain.tasks.base import Task

logger = logging.getLogger(__name__)

_NUM_PROBED = 100_000  # examples that the batch to measure with is taken from


def settle_attention(config: TrainConfig, task: Task, model: Model, runtime: Runtime) -> None:
    """Have a model's attention computed as the config says, or as is fastest.

    Raises:
        ConfigError: Model or task have no packed batches, or the backend cannot be used here.
    """
    from seqtrain.nn.attention import attention_sizes, set_attention_backend

    is_packed = config.batching.form is BatchForm.packed
    if is_packed:
        _require_packable(task, model)
    sizes, wish = attention_sizes(model), config.training.attention
    if not sizes:
        if wish is not AttentionBackend.auto:
            name = type(model).__name__
            raise ConfigError(
                f"training.attention={wish.value}: {name} computes its attention itself",
                remedy="leave training.attention out",
            )
        return
    if wish is AttentionBackend.auto:
        wish = _choose(config, task, model, runtime) if runtime.device.type == "cuda" else wish
    elif (reason := _why_not(wish, sizes, runtime, is_packed=is_packed)) is not None:
        raise ConfigError(
            f"training.attention={wish.value} cannot be used: {reason}", remedy="leave training.attention=auto"
        )
    set_attention_backend(model, wish)


def _require_packable(task: Task, model: Model) -> None:
    from seqtrain.data.dataset import PackableDataset

    if not model.takes_packed_batches:
        raise ConfigError(
            f"batching.form=packed: {type(model).__name__} takes padded batches alone",
            remedy="set batching.form=padded, or model=transformer",
        )
    if task.source_vocabulary is None or not isinstance(task.dataset("train"), PackableDataset):
        raise ConfigError(
            f"batching.form=packed: the task {task.config._name} makes no packed batches",
            remedy="set batching.form=padded",
        )


def _why_not(backend: AttentionBackend, sizes: set[AttentionSize], runtime: Runtime, *, is_packed: bool) -> str | None:
    """What stands against a backend, in words."""
    from seqtrain.nn.varlen_attention import why_no_varlen

    if backend is AttentionBackend.matmul and runtime.device.type != "cpu":
        return "it is for the CPU"
    if backend is not AttentionBackend.varlen:
        return None
    if not is_packed:
        return "it needs batching.form=packed"
    dtype = runtime.precision.dtype
    reasons = (why_no_varlen(runtime.device, dtype, size.head_dim, size.dropout) for size in sizes)
    return next((reason for reason in reasons if reason is not None), None)


def _choose(config: TrainConfig, task: Task, model: Model, runtime: Runtime) -> AttentionBackend:
    """The backend for a GPU: the fastest, or, where results must be the same each time, always the same one."""
    from seqtrain.nn.attention import attention_sizes

    sizes, processes = attention_sizes(model), runtime.processes
    if config.batching.form is BatchForm.padded:
        return AttentionBackend.sdpa
    reason = _why_not(AttentionBackend.varlen, sizes, runtime, is_packed=True)
    if reason is not None:
        if processes.is_first:
            logger.info("attention: sdpa, for varlen cannot be used: %s", reason)
        return AttentionBackend.sdpa
    if config.training.deterministic:
        return AttentionBackend.varlen
    chosen = _measure(config, task, model, runtime) if processes.is_first else None
    return AttentionBackend(processes.from_first(None if chosen is None else chosen.value))


def _measure(config: TrainConfig, task: Task, model: Model, runtime: Runtime) -> AttentionBackend:
    from seqtrain.nn.attention_probe import measure_backends

    batch = _one_batch(config, task, model)
    if batch is None:
        return AttentionBackend.sdpa
    problem = _problem(batch, model, runtime)
    seconds = measure_backends((AttentionBackend.varlen, AttentionBackend.sdpa), problem)
    shown = ", ".join(f"{backend.value} {1000 * taken:.2f} ms" for backend, taken in seconds.items())
    logger.info("attention, forward and backward, on one batch: %s", shown)
    return next(iter(seconds))


def _one_batch(config: TrainConfig, task: Task, model: Model) -> Batch | None:
    """A training batch; None if all examples are too long."""
    from seqtrain.data.dataset import IterationOptions, PackableDataset
    from seqtrain.data.packing import PackedPlan

    dataset = task.dataset("train")
    assert isinstance(dataset, PackableDataset), "batching.form=packed is refused without one"
    options = IterationOptions(
        batching=config.batching, max_positions=longest_positions(task, model), seed=config.training.seed, packed=True
    )
    plan = PackedPlan(dataset.length_table[:_NUM_PROBED], options)
    if plan.shape is None:
        return None
    return dataset.collate_packed(next(plan.batches()), plan.shape)


def _problem(batch: Batch, model: Model, runtime: Runtime) -> AttentionProblem:
    from seqtrain.nn.attention import CrossAttention, attention_sizes
    from seqtrain.nn.attention_probe import AttentionProblem
    from seqtrain.nn.packed_layout import PackedLayout

    batch = batch.to(runtime.device)
    source, target = batch.packed_sources, batch.packed_targets
    assert source is not None, "the batch is packed"
    assert target is not None, "the batch is packed"
    return AttentionProblem(
        make_layouts=lambda: (PackedLayout.of_tokens(source), PackedLayout.of_tokens(target), None),
        size=max(attention_sizes(model), key=lambda size: size.num_heads * size.head_dim),
        num_layers=max(1, sum(isinstance(module, CrossAttention) for module in model.modules())),
        dtype=runtime.precision.dtype,
        device=runtime.device,
    )
