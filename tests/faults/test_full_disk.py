"""A disk that is full while a checkpoint, an index file or a log is written: said, and nothing half counts as whole."""

from __future__ import annotations

import json
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from seqtrain.errors import CheckpointError
from seqtrain.training.checkpoint import Checkpoint, updates_in_name
from tests.faults import corpus
from tests.faults.plugin import Figures, Size
from tests.faults.runs import Hit, differences, last_row, status
from tests.system.runs import finish

pytestmark = pytest.mark.slow

NUM_CHECKPOINTS = 20
NUM_INDICES = 10
NUM_UPDATES = 20
NOTHING_HALF = "half-written files that were taken for whole, or other weights in the end"


@pytest.fixture(scope="module")
def whole(whole_run: Callable[[int], Path]) -> Path:
    """A run with room."""
    return whole_run(1)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed after some updates."""
    hit = Hit.start(tmp_path_factory.mktemp("begun"))
    hit.wait_for(lambda: last_row(hit.run).get("update", 0) > NUM_UPDATES)
    hit.process.kill()
    hit.finish()
    return hit.run


def limit_files(process: subprocess.Popen[str], num_bytes: int) -> subprocess.Popen[str]:
    """Let no file of a process grow beyond so many bytes: the system tells it so as it tells that a disk is full."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (num_bytes, num_bytes))
    return process


def goes_on_without_room(run: Path, num_bytes: int | None = None, *overrides: str) -> str:
    """Go on with a run until it finds no room; what it says of that, which fits a screen.

    Args:
        run: Its folder.
        num_bytes: See `limit_files`; None sets no limit.
        overrides: Of the config.
    """
    hit = Hit.start(run.parent, *overrides)
    if num_bytes is not None:
        limit_files(hit.process, num_bytes)
    errors = hit.finish()
    assert hit.process.returncode in (1, 2), errors
    assert "Traceback" not in errors
    assert "Logging error" not in errors
    assert "make room on the disk" in errors
    assert status(run)["state"] in ("failed", "running")  # the second where there is no room to write the first
    assert not hit.own_debris
    return errors


def take_out_unsaved_rows(run: Path) -> None:
    """Take out the rows that the run would take out itself when it goes on: they would make room for new ones."""
    num_updates = updates_in_name((run / "checkpoints" / "last").resolve())
    path = run / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if json.loads(line)["update"] <= num_updates), encoding="utf-8")


def has_whole_checkpoint(run: Path, fault: str, figures: Figures) -> None:
    """Require that the last checkpoint is what it was written as; count it if not."""
    found = []
    try:
        Checkpoint(run / "checkpoints" / "last")
    except CheckpointError as error:
        found.append(str(error))
    figures.count(fault, NOTHING_HALF, len(found))
    assert found == []


def finishes_like(run: Path, whole: Path, fault: str, figures: Figures) -> None:
    """Go on with a run that has room again, to its end, which must be as without; count what is not."""
    finish(Hit.start(run.parent).process)
    different = differences(run, whole)
    figures.count(fault, NOTHING_HALF, len(different))
    assert different == []


def test_a_full_disk_while_a_checkpoint_is_written(
    whole: Path, begun: Path, tmp_path: Path, size: Size, figures: Figures
) -> None:
    draw, fault = random.Random(1), "Full disk: a checkpoint"
    run = Path(shutil.copytree(begun, tmp_path / "run", symlinks=True))
    for _ in range(size.of(NUM_CHECKPOINTS, 2)):
        errors = goes_on_without_room(run, draw.choice([100_000, 1_000_000, 4_000_000]))  # weights or optimizer state
        assert "the checkpoint could not be written" in errors
        figures.count(fault, "times")
        has_whole_checkpoint(run, fault, figures)
    finishes_like(run, whole, fault, figures)


@pytest.mark.parametrize("name", ["metrics.jsonl", "train.log"])
def test_a_full_disk_while_a_log_is_written(
    name: str, whole: Path, begun: Path, tmp_path: Path, figures: Figures
) -> None:
    run, fault = Path(shutil.copytree(begun, tmp_path / "run", symlinks=True)), "Full disk: a log"
    take_out_unsaved_rows(run)
    filler = json.dumps({"split": "none", "update": 0, "filler": "x" * 200_000}) + "\n"
    path = run / name
    path.write_text(filler + path.read_text(encoding="utf-8"), encoding="utf-8")
    errors = goes_on_without_room(run, path.stat().st_size + 600, "checkpoint.save_interval_updates=null")
    assert errors.count(f"{name} cannot be written") == 1
    figures.count(fault, "times")
    has_whole_checkpoint(run, fault, figures)
    path.write_text(path.read_text(encoding="utf-8").removeprefix(filler), encoding="utf-8")
    finishes_like(run, whole, fault, figures)


def test_a_small_file_system_that_is_full(whole: Path, begun: Path, tmp_path: Path, figures: Figures) -> None:
    fault = "Full disk: a file system without room"
    with small_file_system(tmp_path / "small", "100m") as folder:
        run = Path(shutil.copytree(begun, folder / "run", symlinks=True))
        filler = folder / "filler"
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(2**20))
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - 2**21)
        assert "No space left on device" in goes_on_without_room(run)
        figures.count(fault, "times")
        has_whole_checkpoint(run, fault, figures)
        filler.unlink()
        finishes_like(run, whole, fault, figures)


@contextmanager
def small_file_system(path: Path, size: str) -> Iterator[Path]:
    """A file system in memory; the test is skipped where it may not be mounted."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_while_an_index_file_is_written(tmp_path: Path, size: Size, figures: Figures) -> None:
    draw, fault = random.Random(2), "Full disk: an index file"
    text = corpus.write_text(tmp_path / "text", num_lines=3000)
    whole = tmp_path / "whole"
    whole.mkdir()
    finish(corpus.preprocess(text, whole))
    for _ in range(size.of(NUM_INDICES, 2)):
        process = limit_files(corpus.preprocess(text, tmp_path), draw.choice([10_000, 50_000, 200_000]))
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 2, errors
        assert "Traceback" not in errors
        assert "output=data-bin: cannot be written: File too large" in errors
        left = sorted({path.name for path in tmp_path.iterdir()} - {"text", "whole"})
        figures.count(fault, "times")
        figures.count(fault, "half-written folders", len(left))
        assert left == []
    finish(corpus.preprocess(text, tmp_path))
    assert corpus.content(tmp_path / corpus.OUTPUT) == corpus.content(whole / corpus.OUTPUT)


def test_a_full_disk_while_the_text_of_a_training_is_prepared(tmp_path: Path, figures: Figures) -> None:
    text = corpus.write_text(tmp_path / "text", num_lines=3000)
    process = limit_files(corpus.train(text, tmp_path), 50_000)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "Traceback" not in errors
    assert "the cache cache cannot be written: File too large" in errors
    assert list((tmp_path / "cache").rglob("*.bin")) == []
    finish(corpus.train(text, tmp_path))
    figures.count("Full disk: an index file", "times")
