"""SIGTERM at any moment: saved within ten seconds, left with 75, and gone on from the same update."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults import corpus
from tests.faults.plugin import Figures, Size
from tests.faults.runs import Hit, differences, last_row, status, unbroken
from tests.system.runs import finish

pytestmark = pytest.mark.slow

SECONDS = 10.0
NUM_SIGNALS = 30
NUM_SIGNALS_IN_PREPARATION = 10
MAX_DELAY = 0.25  # seconds: a fast machine has prepared all of the text half a second after the second line
MOMENTS = ("before the first update", "training", "validation", "the writing of a checkpoint")
GENERATING = ("validation.generate=true", "generation.max_len_b=20")
"""A validation that takes longer than all updates before it."""


def test_signals_lose_no_update_and_change_no_bit(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, size: Size, figures: Figures
) -> None:
    whole = unbroken(tmp_path_factory.mktemp("whole"), *GENERATING)
    draw, num_signals, num_runs = random.Random(1), 0, 1
    moments = itertools.cycle(MOMENTS)
    moment = next(moments)
    folder = _new_run(tmp_path, num_runs)
    while num_signals < size.of(NUM_SIGNALS, len(MOMENTS)):
        hit = Hit.start(folder, *GENERATING)
        hit.wait(moment, draw)
        if not _stop(hit, f"SIGTERM: {moment}", figures):
            assert differences(folder / "run", whole) == []
            num_runs += 1
            folder = _new_run(tmp_path, num_runs)
            continue
        num_signals += 1
        moment = next(moments)
    hit = Hit.start(folder, *GENERATING)
    errors = hit.finish()
    assert hit.process.returncode == 0, errors
    different = differences(folder / "run", whole)
    figures.count("SIGTERM: all of a run", "runs that ended in other weights, optimizer state or rows", len(different))
    assert different == []


def _new_run(parent: Path, number: int) -> Path:
    folder = parent / str(number)
    folder.mkdir()
    return folder


def _stop(hit: Hit, fault: str, figures: Figures) -> bool:
    """Send the signal; whether the run had not ended before. What it says of itself must be so."""
    begin = time.monotonic()
    hit.process.send_signal(signal.SIGTERM)
    errors = hit.finish()
    seconds = time.monotonic() - begin
    if hit.process.returncode == 0:
        return False
    said = status(hit.run)
    num_lost = last_row(hit.run).get("update", 0) - said.get("update", last_row(hit.run).get("update", 0))
    figures.count(fault, "signals")
    figures.count(fault, "lost updates", num_lost)
    figures.slowest(fault, "slowest", seconds)
    assert hit.process.returncode == 75, errors
    assert "SIGTERM" in errors
    assert "Traceback" not in errors
    assert said["state"] == "stopped"
    assert num_lost == 0
    assert not hit.own_debris
    assert seconds <= SECONDS
    return True


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of text."""
    return corpus.write_text(tmp_path_factory.mktemp("text") / "text")


@pytest.fixture(scope="module")
def prepared(text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that the text becomes when nothing interrupts."""
    folder = tmp_path_factory.mktemp("prepared")
    finish(corpus.preprocess(text, folder))
    return corpus.content(folder / corpus.OUTPUT)


def test_a_signal_ends_preprocessing_with_nothing_written(
    text: Path, prepared: dict[str, bytes], tmp_path: Path, size: Size, figures: Figures
) -> None:
    draw, fault = random.Random(2), "SIGTERM: python -m seqtrain.preprocess"
    for number in range(size.of(NUM_SIGNALS_IN_PREPARATION, 2)):
        mark = f"FAULTS_{tmp_path.name}_{number}"
        process = corpus.preprocess(text, tmp_path, mark=mark)
        corpus.wait_for_line(process, 1 + number % 2)  # sentencepiece learns; processes tokenize
        time.sleep(draw.uniform(0.0, MAX_DELAY))
        seconds = _end(process)
        figures.count(fault, "signals")
        figures.slowest(fault, "slowest", seconds)
        left = [path.name for path in tmp_path.iterdir() if path.name.startswith((corpus.OUTPUT, ".building-"))]
        figures.count(fault, "folders or processes that were left", len(left) + len(corpus.marked(mark)))
        assert left == []
        assert corpus.marked(mark) == []
    finish(corpus.preprocess(text, tmp_path))
    assert corpus.content(tmp_path / corpus.OUTPUT) == prepared


def test_a_signal_ends_the_preparation_of_text_that_a_training_needs(
    text: Path, prepared: dict[str, bytes], tmp_path: Path, size: Size, figures: Figures
) -> None:
    draw, fault = random.Random(3), "SIGTERM: the preparation of text in a training"
    for number in range(size.of(NUM_SIGNALS_IN_PREPARATION, 2)):
        process = corpus.train(text, tmp_path)
        corpus.wait_for_line(process, number % 3)  # torch is loaded; sentencepiece learns; processes tokenize
        _wait_for_status(tmp_path / "run", process)
        time.sleep(draw.uniform(0.0, MAX_DELAY))
        figures.slowest(fault, "slowest", _end(process))
        figures.count(fault, "signals")
        assert status(tmp_path / "run")["state"] == "stopped"
    finish(corpus.train(text, tmp_path))
    (folder,) = (tmp_path / "cache" / "prepared").iterdir()
    written = corpus.content(folder)
    assert {name: prepared[name] for name in written if name != "dataset.json"} == {
        name: content for name, content in written.items() if name != "dataset.json"
    }


def _wait_for_status(run: Path, process: subprocess.Popen[str]) -> None:
    while status(run).get("state") != "running" and process.poll() is None:
        time.sleep(0.01)


def _end(process: subprocess.Popen[str]) -> float:
    """Send the signal to a command that writes nothing before its end; the seconds until it had left."""
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    seconds = time.monotonic() - begin
    assert process.returncode == 75, errors
    assert "seqtrain: stopped: SIGTERM" in errors
    assert "Traceback" not in errors
    assert seconds <= SECONDS
    return seconds
