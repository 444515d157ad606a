"""Checkpoint folders to what writes and what measures with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqtrain.assemble.components import (
    build_criterion,
    build_decoder,
    build_model,
    build_task,
    longest_positions,
    prepare_runtime,
)
from seqtrain.config.root import BatchingConfig, GenerationConfig, RuntimeConfig, TrainConfig
from seqtrain.errors import CheckpointError

if TYPE_CHECKING:
    from seqtrain.generation.text import TextGenerator
    from seqtrain.models.base import Model
    from seqtrain.tasks.base import Task
    from seqtrain.training.validation import Validator


def load_trained(folder: Path, *, use_ema: bool | None = None) -> tuple[TrainConfig, Task, Model]:
    """Take config, task and model from a checkpoint folder, verified; the model is on the CPU, in evaluation mode.

    Args:
        folder: A checkpoint folder.
        use_ema: Whether the weights are the averaged ones; None takes those where there are any.

    Raises:
        CheckpointError: The folder is missing, damaged, or does not fit this version of seqtrain.
    """
    from seqtrain.config.check import typed, written_out
    from seqtrain.config.versions import saved_config
    from seqtrain.training.checkpoint import CONFIG, Checkpoint
    from seqtrain.training.weights import chosen_weights, load_named_tensors

    checkpoint = Checkpoint(folder)
    config = typed(TrainConfig, written_out(saved_config(checkpoint.config, str(checkpoint.folder / CONFIG))))
    task = build_task(config.task)
    task.load_assets(checkpoint.folder)
    model = build_model(config.model, task)
    load_named_tensors(model, chosen_weights(checkpoint, use_ema=use_ema), origin=str(checkpoint.folder))
    return config, task, model.eval()


def load_generator(
    folders: Sequence[Path],
    *,
    generation: GenerationConfig,
    batching: BatchingConfig,
    runtime: RuntimeConfig,
    data: str | None = None,
    use_ema: bool | None = None,
) -> TextGenerator:
    """What writes with trained models.

    Args:
        folders: Checkpoint folders; several are decoded as an ensemble and must share their vocabularies.
        generation: How to search.
        batching: The limits of a batch.
        runtime: The machine.
        data: The folder of the text, instead of the one that the first model was trained on.
        use_ema: Whether the weights are the averaged ones; None takes those where there are any.

    Raises:
        CheckpointError: A folder is missing or damaged, or the vocabularies differ.
    """
    from seqtrain.generation.text import TextGenerator

    machine = prepare_runtime(runtime)
    config, task, model = load_trained(folders[0], use_ema=use_ema)
    models = [model]
    for folder in folders[1:]:
        _, other_task, other_model = load_trained(folder, use_ema=use_ema)
        _require_same_vocabularies(task, other_task, folders[0], folder)
        models.append(other_model)
    if data is not None:
        config.task.data = data
    return TextGenerator(
        task,
        [model.to(machine.device) for model in models],
        generation=generation,
        batching=batching,
        device=machine.device,
        autocast=machine.precision.autocast,
    )


def load_evaluator(
    folder: Path,
    *,
    generation: GenerationConfig | None,
    batching: BatchingConfig,
    runtime: RuntimeConfig,
    data: str | None = None,
    use_ema: bool | None = None,
) -> Validator:
    """What measures a trained model on a split.

    Args:
        folder: A checkpoint folder.
        generation: How to decode for the task's measures of text; None measures losses alone.
        batching: The limits of a batch.
        runtime: The machine.
        data: The folder of the text, instead of the one that the model was trained on.
        use_ema: Whether the weights are the averaged ones; None takes those where there are any.

    Raises:
        CheckpointError: The folder is missing or damaged.
    """
    from seqtrain.training.step import LossFunction, TrainableModule
    from seqtrain.training.validation import Validator

    machine = prepare_runtime(runtime)
    config, task, model = load_trained(folder, use_ema=use_ema)
    if data is not None:
        config.task.data = data
    criterion = build_criterion(config.criterion, task)
    module = TrainableModule(model, criterion).to(machine.device)
    losses = LossFunction(task=task, module=module, precision=machine.precision, device=machine.device)
    return Validator(
        losses=losses,
        processes=machine.processes,
        batching=batching,
        max_positions=longest_positions(task, model),
        decode=None if generation is None else build_decoder(losses, generation, batching, processes=machine.processes),
    )


def _require_same_vocabularies(first: Task, second: Task, first_folder: Path, second_folder: Path) -> None:
    for side in ("source_vocabulary", "target_vocabulary"):
        mine, theirs = getattr(first, side), getattr(second, side)
        if (mine and mine.fingerprint) != (theirs and theirs.fingerprint):
            raise CheckpointError(
                f"{first_folder} and {second_folder} have different {side.replace('_', ' ')}: they are no ensemble",
                remedy="decode together only models that were trained on the same vocabularies",
            )


def load(checkpoint: str | Path, **generation: Any) -> TextGenerator:
    """Load a trained model: `seqtrain.load("outputs/RUN/checkpoints/best").translate(["a man rides a bicycle"])`.

    Args:
        checkpoint: A checkpoint folder.
        generation: Fields of `GenerationConfig`: beam_size=5, length_penalty=0.6.

    Raises:
        CheckpointError: The folder is missing or damaged.
        ConfigError: There is no such field, or its value is wrong.
    """
    from seqtrain.config.check import check, typed

    settings = typed(GenerationConfig, generation)
    check(settings)
    return load_generator([Path(checkpoint)], generation=settings, batching=BatchingConfig(), runtime=RuntimeConfig())
