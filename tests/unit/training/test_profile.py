"""A profile of a few updates: what is measured, what is traced, what is said."""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seqtrain.data.batch import Batch
from seqtrain.testing.fakes import TinyTask, collate
from seqtrain.training.profile import Profile, ProfileWindow
from seqtrain.training.stopwatch import Phase, Stopwatch
from tests.unit.training.tiny_run import CPU, config, make_trainer

PAIRS = [([5, 6, 2], [7, 2]), ([5, 2], [7, 8, 9, 2])]  # 5 source tokens, 6 target tokens


def updates(number: int) -> Iterator[list[Batch]]:
    return iter([[collate(PAIRS)] for _ in range(number)])


def profile_updates(stopwatch: Stopwatch, number: int) -> None:
    for _ in stopwatch.updates(updates(number)):
        for phase in (Phase.forward, Phase.backward, Phase.optimizer):
            stopwatch.enter(phase)
    stopwatch.close()


def ranges(path: Path) -> Counter[str]:
    """How often each name stands in a trace, one entry for each range of the host's."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    return Counter(event["name"] for event in events if event.get("cat") == "user_annotation")


def test_without_a_profile_the_batches_are_handed_on_and_nothing_else_is_done() -> None:
    batches = updates(2)
    assert Stopwatch().updates(batches) is batches
    with Stopwatch().during(Phase.validation):
        pass


def test_the_updates_after_the_warmup_are_measured(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="seqtrain")
    window = ProfileWindow(num_warmup=3, num_timed=4, num_traced=2)
    profile_updates(Profile(tmp_path / "trace.json.gz", CPU, window=window), 12)
    table, trace = caplog.messages
    assert table.startswith("profile of updates 4 to 7 of this process:\n")
    speed = re.search(r"([\d,]+) target tokens a second and ([\d,]+) source tokens", table)
    assert speed is not None
    target, source = (int(text.replace(",", "")) for text in speed.groups())
    assert target / source == pytest.approx(6 / 5, rel=0.01)
    assert trace.startswith("trace of 2 updates: ")


def test_a_trace_names_the_phases_of_its_updates(tmp_path: Path) -> None:
    path = tmp_path / "trace.json.gz"
    profile_updates(Profile(path, CPU, window=ProfileWindow(num_warmup=1, num_timed=1, num_traced=2)), 9)
    expected = {phase.value: 2 for phase in (Phase.data, Phase.host, Phase.forward, Phase.backward, Phase.optimizer)}
    assert ranges(path) == expected


def test_few_updates_of_many_batches_are_traced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="seqtrain")
    stopwatch = Profile(tmp_path / "t.json.gz", CPU, window=ProfileWindow(num_warmup=0, num_timed=1, num_traced=3))
    for _ in stopwatch.updates(iter([[collate(PAIRS)] * 8] * 6)):
        pass
    assert caplog.messages[1].startswith("trace of 1 updates: ")


def test_an_epoch_that_ends_begins_no_update(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="seqtrain")
    stopwatch = Profile(tmp_path / "t.json.gz", CPU, window=ProfileWindow(num_warmup=2, num_timed=4, num_traced=1))
    for _ in range(4):
        for _ in stopwatch.updates(updates(2)):
            pass
    stopwatch.close()
    assert [text.partition(":")[0] for text in caplog.messages] == [
        "profile of updates 3 to 6 of this process",
        "trace of 1 updates",
    ]


def test_a_run_that_ends_early_tells_what_it_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="seqtrain")
    path = tmp_path / "trace.json.gz"
    profile_updates(Profile(path, CPU, window=ProfileWindow(num_warmup=2, num_timed=10)), 5)
    assert caplog.messages[0].startswith("profile of updates 3 to 5 of this process:\n")
    assert not path.exists()


def test_a_run_of_warmup_alone_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    profile_updates(Profile(tmp_path / "trace.json.gz", CPU, window=ProfileWindow(num_warmup=2)), 2)
    assert caplog.messages == ["nothing is profiled: the first 2 updates are not, and there were no more"]


def test_fillers_of_other_processes_work_are_no_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="seqtrain")
    filler = replace(collate(PAIRS), is_filler=True)
    stopwatch = Profile(tmp_path / "t.json.gz", CPU, window=ProfileWindow(num_warmup=0, num_timed=9))
    for _ in stopwatch.updates(iter([[filler]])):
        pass
    stopwatch.close()
    assert "  0 target tokens a second" in caplog.text


def test_a_whole_run_is_the_same_with_a_profile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="seqtrain")
    plain, profiled = (make_trainer(tmp_path / name, config()) for name in ("plain", "profiled"))
    plain.fit()
    window = ProfileWindow(num_warmup=2, num_timed=4, num_traced=2)
    stopwatch = Profile(tmp_path / "trace.json.gz", CPU, window=window)
    profiled.learner = replace(profiled.learner, stopwatch=stopwatch)
    profiled.fit()
    for one, other in zip(plain.learner.module.parameters(), profiled.learner.module.parameters(), strict=True):
        assert torch.equal(one, other)
    told = "\n".join(caplog.messages)
    assert "profile of updates 3 to 6" in told
    assert re.search(r"between updates: checkpoint \d times", told)
    seen = ranges(tmp_path / "trace.json.gz")
    assert {name for name in seen if name in {phase.value for phase in Phase}} >= {"forward", "backward", "optimizer"}


def test_the_phases_of_an_update_follow_one_another(tmp_path: Path) -> None:
    phases: list[Phase] = []

    class Listener(Stopwatch):
        def enter(self, phase: Phase) -> None:
            phases.append(phase)

    trainer = make_trainer(tmp_path, config())
    trainer.learner = replace(trainer.learner, stopwatch=Listener())
    trainer.fit()
    assert phases[:8] == [
        Phase.forward,
        Phase.forward,
        Phase.backward,
        Phase.communication,
        Phase.host,
        Phase.communication,
        Phase.optimizer,
        Phase.host,
    ]
    assert isinstance(trainer.learner.task, TinyTask)
