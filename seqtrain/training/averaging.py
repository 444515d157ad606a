"""The mean of the weights of several checkpoints, which often does better than each of them (Vaswani et al., 2017,
section 6.1; Izmailov et al., 2018, https://arxiv.org/abs/1803.05407).
"""  # noqa: D205

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqtrain.config.checkpoints import AverageConfig, Choice
from seqtrain.config.versions import saved_config
from seqtrain.errors import CheckpointError
from seqtrain.training.checkpoint import (
    CONFIG,
    Checkpoint,
    CheckpointContent,
    find_checkpoints,
    updates_in_name,
    write_checkpoint,
)
from seqtrain.training.keeper import rank_checkpoints
from seqtrain.training.weights import chosen_weights

__all__ = ["average_checkpoints", "average_tensors", "choose_checkpoints"]


def average_tensors(members: Iterable[tuple[str, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """The mean of each tensor, summed in float64; one that holds no fractions is the last member's.

    Args:
        members: A name for messages and the tensors of each, one after the other: two are in memory at a time.

    Returns:
        Tensors of the members' number formats.

    Raises:
        CheckpointError: Names or shapes differ.
    """
    sums: dict[str, Tensor] = {}
    last: Mapping[str, Tensor] = {}
    first_label, count = "", 0
    for label, tensors in members:
        if count == 0:
            first_label = label
            sums = {name: tensor.to(torch.float64, copy=True) for name, tensor in tensors.items()}
        else:
            _require_same_shapes(sums, tensors, first_label, label)
            for name, tensor in tensors.items():
                sums[name] += tensor
        last, count = tensors, count + 1
    return {
        name: (sums[name] / count).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in last.items()
    }


def _require_same_shapes(first: Mapping[str, Tensor], second: Mapping[str, Tensor], *labels: str) -> None:
    one_sided = sorted(set(first) ^ set(second))
    if one_sided:
        raise CheckpointError(f"{labels[0]} and {labels[1]} are of different models: only one has {one_sided[0]}")
    for name, tensor in first.items():
        if tensor.shape != second[name].shape:
            raise CheckpointError(
                f"{labels[0]} and {labels[1]} are of different models: {name} is {tuple(tensor.shape)} in the first "
                f"and {tuple(second[name].shape)} in the second"
            )


def choose_checkpoints(config: AverageConfig) -> list[Path]:
    """The folders that a config names, or that it describes in a run.

    Raises:
        CheckpointError: The run has fewer of them than are asked for.
    """
    if config.run is None:
        return [Path(folder) for folder in config.checkpoints]
    folder = Path(config.run) / "checkpoints"
    first, last = config.first_update or 0, config.last_update
    saved = [
        path
        for path in find_checkpoints(folder)
        if first <= updates_in_name(path) and (last is None or updates_in_name(path) <= last)
    ]
    if config.choose is Choice.best and saved:
        values = saved_config(Checkpoint(saved[0]).config, str(saved[0] / CONFIG))
        saved = rank_checkpoints(saved, maximize=values["validation"]["maximize"])
    if not saved or (config.num is not None and len(saved) < config.num):
        kind = "with a validation metric " if config.choose is Choice.best else ""
        raise CheckpointError(
            f"{folder} has {len(saved)} checkpoints {kind}to choose from, not {config.num or 'any'}",
            remedy="give another num, or keep more of them in training: checkpoint.keep_last, keep_best or "
            "keep_every_updates",
        )
    return saved[: config.num]


def average_checkpoints(folders: Sequence[Path], output: Path, *, use_ema: bool = False) -> list[Path]:
    """Write a checkpoint folder with the mean of the weights of others; no run can go on from it.

    Config, vocabularies and numbers without fractions are those of the checkpoint with the most updates.

    Args:
        folders: Checkpoint folders of one model, on the same vocabularies.
        output: The folder to write.
        use_ema: Average the exponential moving averages that they hold.

    Returns:
        The folders, the one with the most updates last.

    Raises:
        CheckpointError: One is damaged or has no such weights, they do not fit together, or the output exists.
    """
    if output.exists():
        raise CheckpointError(f"{output} exists", remedy="give another folder as output, or remove it")
    members = sorted((Checkpoint(folder) for folder in folders), key=_num_updates)
    newest = members[-1]
    for member in members:
        _require_same_kind(member, newest)
    names = [str(member.folder) for member in members]

    def save_assets(folder: Path) -> None:
        for path in newest.assets:
            shutil.copyfile(path, folder / path.name)

    average = {"checkpoints": names, "num_updates": [_num_updates(member) for member in members], "use_ema": use_ema}
    content = CheckpointContent(
        model=average_tensors((str(member.folder), chosen_weights(member, use_ema=use_ema)) for member in members),
        criterion=average_tensors((str(member.folder), member.criterion) for member in members),
        optimizer=None,
        state={"metric": None, "average": average},
        config=newest.config,
        save_assets=save_assets,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(output, content)
    return [member.folder for member in members]


def _num_updates(checkpoint: Checkpoint) -> int:
    """The updates of a checkpoint's run; those of the newest member of an average."""
    state: Mapping[str, Any] = checkpoint.state
    return int(state["train"]["num_updates"] if "train" in state else max(state["average"]["num_updates"]))


def _require_same_kind(first: Checkpoint, second: Checkpoint) -> None:
    """Refuse to mix models of other sizes or vocabularies.

    Raises:
        CheckpointError: They differ in the model's config or in a file of the task.
    """
    configs = [saved_config(one.config, str(one.folder / CONFIG)) for one in (first, second)]
    assets = [{(path.name, path.read_bytes()) for path in one.assets} for one in (first, second)]
    files = {name for name, _ in assets[0] ^ assets[1]}
    different = sorted(files) + [
        kind for kind in ("task", "model") if _identity(configs[0][kind], kind) != _identity(configs[1][kind], kind)
    ]
    if different:
        raise CheckpointError(
            f"{first.folder} and {second.folder} do not fit together: they have another {different[0]}",
            remedy="average checkpoints of one run, or of runs with the same model and vocabularies",
        )


def _identity(section: Mapping[str, Any], kind: str) -> Any:
    """What must be the same: all of a model's config, a task's name alone, whose vocabularies are files."""
    return section if kind == "model" else section["_name"]
