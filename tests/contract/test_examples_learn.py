"""Each example of user_plugins/ learns: put into a small training run, it brings the loss near its floor."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from seqtrain.config.root import BatchingConfig
from seqtrain.data.dataset import IterationOptions
from seqtrain.tasks import Task
from seqtrain.testing import PluginContract, TinyModel, TinyTask, collate

LSTM = {"embed_dim": 32, "hidden_size": 32, "dropout": 0.0}
NUM_UPDATES = 150


def build(kind: str, name: str, settings: Mapping[str, Any], *arguments: Any) -> Any:
    """A plug-in, made as a run would make it."""
    suite = type("Suite", (PluginContract,), {"kind": kind, "name": name, "overrides": settings})()
    return suite.build(*arguments)


def final_nll(
    task: Task,
    *,
    criterion: tuple[str, dict[str, Any]] = ("cross_entropy", {}),
    optimizer: tuple[str, dict[str, Any]] = ("adam", {"lr": 1e-2}),
    lr_scheduler: tuple[str, dict[str, Any]] = ("fixed", {}),
) -> float:
    """Train my_lstm on a task; the negative log-likelihood of a training token in the end, in nats."""
    torch.manual_seed(1)
    model = build("model", "my_lstm", LSTM, task)
    loss = build("criterion", *criterion, task)
    descent = build("optimizer", *optimizer, [{"params": list(model.parameters())}])
    schedule = build("lr_scheduler", *lr_scheduler, descent)
    nll, num_tokens, num_updates, epoch = 0.0, 0, 0, 0
    while num_updates < NUM_UPDATES:
        epoch += 1
        nll, num_tokens = 0.0, 0
        for batches in task.get_batch_iterator(task.dataset("train"), options(task, epoch)):
            for group in descent.param_groups:
                group["lr"] = schedule.step_update(num_updates)
            descent.zero_grad()
            for batch in batches:
                output = task.train_step(batch, model, loss, descent)
                nll += output.logs["nll_loss"].item()
                num_tokens += batch.num_tokens
            for parameter in model.parameters():
                parameter.grad /= output.sample_size
            descent.step()
            num_updates += 1
    return nll / num_tokens


def options(task: Task, epoch: int) -> IterationOptions:
    """Batches of 16 sentences, one an update."""
    batching = BatchingConfig(max_tokens=None, max_sentences=16, num_prefetch=0)
    return IterationOptions(batching=batching, max_positions=task.max_positions, epoch=epoch)


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"criterion": ("my_focal_loss", {})},
        {"optimizer": ("my_lion", {"lr": 4e-3})},
        {"lr_scheduler": ("my_trapezoid", {"warmup_updates": 20, "decay_updates": 50, "total_updates": NUM_UPDATES})},
    ],
    ids=["my_lstm", "my_focal_loss", "my_lion", "my_trapezoid"],
)
def test_copying_is_learned(choice: dict[str, Any]) -> None:
    # One of 9 symbols at random, letters and the end, has a negative log-likelihood of ln 9 = 2.2.
    assert final_nll(TinyTask(num_examples=64), **choice) < 0.3


@pytest.mark.parametrize(("unit", "separator"), [("words", " "), ("characters", "")])
def test_writing_backwards_is_learned(tmp_path: Path, unit: str, separator: str) -> None:
    generator = random.Random(1)
    lines = [separator.join(generator.choices("abcdefgh", k=generator.randint(1, 6))) for _ in range(64)]
    (tmp_path / "train.en").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    tokenizer = {"words": "whitespace", "characters": "characters"}[unit]
    settings = {"data": str(tmp_path), "cache": str(tmp_path / "cache"), "tokenizer": tokenizer, "unit": unit}
    task = build("task", "my_reversal", settings)
    task.setup()
    assert final_nll(task) < 0.3


def test_a_line_is_reversed_by_words_or_by_characters() -> None:
    words = build("task", "my_reversal", {"data": "folder"})
    characters = build("task", "my_reversal", {"data": "folder", "unit": "characters"})
    assert words.reverse("one two three") == "three two one"
    assert characters.reverse("one two") == "owt eno"


def test_a_trapezoid_goes_up_along_and_down() -> None:
    settings = {"warmup_updates": 2, "decay_updates": 4, "total_updates": 8}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build("lr_scheduler", "my_trapezoid", settings, optimizer)
    assert [schedule.step_update(update) for update in range(9)] == [0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0.25]


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    task = TinyTask()
    batch = collate([([4, 5, 2], [6, 7, 8, 2]), ([9, 2], [4, 2])])
    torch.manual_seed(1)
    model = TinyModel(task)
    plain = build("criterion", "cross_entropy", {}, task)(model, batch)
    focal = build("criterion", "my_focal_loss", {"gamma": 0.0}, task)(model, batch)
    torch.testing.assert_close(focal.loss_sum, plain.loss_sum)
    torch.testing.assert_close(focal.logs["nll_loss"], plain.logs["nll_loss"])


def test_lion_takes_steps_of_one_size() -> None:
    # Chen et al. (2023), algorithm 2, with beta 0.9 and 0.99: c = 0.9 m + 0.1 g; x -= lr (sign c + decay x);
    # m = 0.99 m + 0.01 g. The second gradient is too small to turn the momentum of the first.
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    groups = [{"params": [parameter], "weight_decay": 0.5}]
    optimizer = build("optimizer", "my_lion", {"lr": 0.1}, groups)
    expected = torch.tensor([1.0, -2.0])
    for gradient in (torch.tensor([3.0, -0.5]), torch.tensor([-0.01, 0.001])):
        parameter.grad = gradient
        optimizer.step()
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * torch.tensor([1.0, -1.0])
        torch.testing.assert_close(parameter.data, expected)
