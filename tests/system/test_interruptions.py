"""A run that is killed, stopped or run again ends in the same bits."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.runs import SMALL, command, environment, rows, start, weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A run that nothing interrupts, and its number of threads."""
    folder = tmp_path_factory.mktemp("whole")
    threads = f"training.num_threads={request.param}"
    result = start("train", *SMALL, threads, "hydra.run.dir=run", cwd=folder, num_threads=request.param)
    assert result.returncode == 0, result.stderr
    return folder / "run", request.param


def test_ten_kills_at_random_moments_change_no_bit(whole: tuple[Path, int], tmp_path: Path) -> None:
    expected, num_threads = whole
    arguments = command("train", *SMALL, f"training.num_threads={num_threads}", "hydra.run.dir=run")
    draw = random.Random(num_threads)
    num_kills = 0
    for _ in range(40):
        process = subprocess.Popen(
            arguments, cwd=tmp_path, env=environment(num_threads), stderr=subprocess.PIPE, text=True
        )
        if num_kills < 10:
            _wait_for_updates(tmp_path / "run", process, draw)
            process.kill()
        _, errors = process.communicate(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        num_kills += 1
    assert process.returncode == 0
    assert num_kills == 10
    assert weights(tmp_path / "run") == weights(expected)
    assert rows(tmp_path / "run", "train") == rows(expected, "train")
    assert rows(tmp_path / "run", "valid") == rows(expected, "valid")


def _wait_for_updates(run: Path, process: subprocess.Popen[str], draw: random.Random) -> None:
    """Wait until the run has got a little further, then a random while: a kill may fall anywhere."""
    before = _newest(run)
    for _ in range(3000):
        if _newest(run) > before or process.poll() is not None:
            break
        time.sleep(0.01)
    time.sleep(draw.uniform(0.0, 0.15))


def _newest(run: Path) -> str:
    return max((path.name for path in run.glob("checkpoints/update_*")), default="")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves_with_75_and_the_same_command_goes_on(
    whole: tuple[Path, int], tmp_path: Path, number: signal.Signals
) -> None:
    expected, num_threads = whole
    arguments = command("train", *SMALL, f"training.num_threads={num_threads}", "hydra.run.dir=run")
    process = subprocess.Popen(arguments, cwd=tmp_path, env=environment(num_threads), stderr=subprocess.PIPE, text=True)
    _wait_for_updates(tmp_path / "run", process, random.Random(3))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert f"{number.name} at update" in errors
    assert json.loads((tmp_path / "run/status.json").read_text(encoding="utf-8"))["state"] == "stopped"
    result = start("train", *arguments[3:], cwd=tmp_path, num_threads=num_threads)
    assert result.returncode == 0, result.stderr
    assert weights(tmp_path / "run") == weights(expected)


def test_rerun_gives_the_same_losses_and_weights_in_a_new_folder(whole: tuple[Path, int], tmp_path: Path) -> None:
    expected, num_threads = whole
    result = start("train", "--rerun", str(expected), "hydra.run.dir=again", cwd=tmp_path, num_threads=num_threads)
    assert result.returncode == 0, result.stderr
    assert rows(tmp_path / "again", "train") == rows(expected, "train")
    assert rows(tmp_path / "again", "valid") == rows(expected, "valid")
    assert weights(tmp_path / "again") == weights(expected)


def test_a_finished_run_says_so(whole: tuple[Path, int]) -> None:
    expected, num_threads = whole
    before = weights(expected)
    arguments = (*SMALL, f"training.num_threads={num_threads}", f"hydra.run.dir={expected}")
    result = start("train", *arguments, cwd=expected.parent, num_threads=num_threads)
    assert result.returncode == 0, result.stderr
    assert "was finished already, by training.max_updates=120" in result.stderr
    assert weights(expected) == before
