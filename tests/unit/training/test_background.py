"""A checkpoint that is written in the background is of the moment when it was asked for; its failure is heard of."""

from __future__ import annotations

import logging
import threading

import pytest
import torch

from seqtrain.errors import CheckpointError
from seqtrain.training.background import BackgroundWriter, CheckpointWriter
from seqtrain.training.checkpoint import CheckpointContent


def content(weight: torch.Tensor, *, num_updates: int = 0) -> CheckpointContent:
    return CheckpointContent(
        model={"weight": weight},
        criterion={},
        optimizer={"weight/exp_avg": 2 * weight},
        state={"train": {"num_updates": num_updates}},
        config="",
        save_assets=lambda _folder: None,
    )


DEVICES = [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)]


def fail(_content: CheckpointContent) -> None:
    raise CheckpointError("No space left on device")


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_what_is_written_does_not_change_with_the_model(device: torch.device) -> None:
    weight = torch.ones(3, device=device)
    asked = content(weight, num_updates=7)
    seen: list[CheckpointContent] = []
    may_write = threading.Event()

    def write(copied: CheckpointContent) -> None:
        may_write.wait()
        seen.append(copied)

    with BackgroundWriter() as writer:
        writer.write(asked, write)
        weight.mul_(5)
        asked.state["train"]["num_updates"] = 8
        may_write.set()
    (copied,) = seen
    assert copied.model["weight"].tolist() == [1, 1, 1]
    assert copied.optimizer is not None
    assert copied.optimizer["weight/exp_avg"].tolist() == [2, 2, 2]
    assert copied.state == {"train": {"num_updates": 7}}


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_writes_follow_one_another_each_with_its_own_values(device: torch.device) -> None:
    seen: list[float] = []
    weight = torch.zeros(100_000, device=device)
    with BackgroundWriter() as writer:
        for _ in range(20):
            weight.add_(1)
            writer.write(content(weight), lambda copied: seen.extend(set(copied.model["weight"].tolist())))
    assert seen == list(range(1, 21))


def test_tensors_may_come_and_change_their_shape() -> None:
    seen: list[dict[str, torch.Tensor]] = []
    with BackgroundWriter() as writer:
        for weight in (torch.ones(2), torch.ones(3, 2), torch.ones((), dtype=torch.int64)):
            writer.write(content(weight), lambda copied: seen.append(dict(copied.model)))
    assert [tuple(model["weight"].shape) for model in seen] == [(2,), (3, 2), ()]
    assert seen[-1]["weight"].dtype is torch.int64


@pytest.mark.parametrize("name", ["check", "wait"])
def test_a_failure_is_raised_once_where_the_run_next_asks(name: str) -> None:
    writer = BackgroundWriter()
    writer.write(content(torch.ones(1)), fail)
    while writer._running is not None and not writer._running.done():
        pass
    with pytest.raises(CheckpointError, match="No space left on device"):
        getattr(writer, name)()
    writer.check()
    writer.wait()


def test_a_failure_is_raised_by_the_next_write() -> None:
    writer = BackgroundWriter()
    writer.write(content(torch.ones(1)), fail)
    with pytest.raises(CheckpointError, match="No space left on device"):
        writer.write(content(torch.ones(1)), lambda _: None)


def test_a_failure_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(CheckpointError, match="No space left on device"), BackgroundWriter() as writer:
        writer.write(content(torch.ones(1)), fail)


def test_a_failure_does_not_hide_the_error_that_ended_the_run(caplog: pytest.LogCaptureFixture) -> None:
    def run() -> None:
        with BackgroundWriter() as writer:
            writer.write(content(torch.ones(1)), fail)
            raise ValueError("the run's own")

    with pytest.raises(ValueError, match="the run's own"):
        run()
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "No space left on device")
    ]


def test_without_a_background_a_failure_is_raised_at_once() -> None:
    with CheckpointWriter() as writer, pytest.raises(CheckpointError, match="No space left on device"):
        writer.write(content(torch.ones(1)), fail)
