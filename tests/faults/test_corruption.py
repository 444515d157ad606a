"""Truncations, flipped bits and worse, in checkpoints and data-bin folders: every one is found, and none is loaded."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from seqtrain.assemble import build_task
from seqtrain.assemble.trained import load_trained
from seqtrain.data.indexed import open_indexed
from seqtrain.errors import CheckpointError, DataError, SeqtrainError
from seqtrain.tasks.translation import TranslationConfig
from seqtrain.training.checkpoint import MANIFEST
from tests.faults.plugin import Figures, Size
from tests.unit.data.test_indexed import BIN, IDX
from tests.unit.data.test_indexed import write as write_indexed

NUM_CORRUPTIONS = 500
NUM_OTHERS = 200


def flip_bit(content: bytes, draw: random.Random) -> bytes:
    """One bit is another."""
    damaged = bytearray(content)
    damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def truncate(content: bytes, draw: random.Random) -> bytes:
    """The end is missing; at times a single byte of it."""
    return content[: draw.choice([len(content) - 1, draw.randrange(len(content))])]


def zero_page(content: bytes, draw: random.Random) -> bytes:
    """A page of the disk was never written."""
    start = draw.randrange(len(content)) // 4096 * 4096
    page = content[start : start + 4096]
    return content[:start] + bytes(len(page)) + content[start + len(page) :]


def append(content: bytes, draw: random.Random) -> bytes:
    """There is more than was written: a line feed, or anything."""
    return content + draw.choice([b"\n", b" ", b"\0", draw.randbytes(draw.randrange(1, 100))])


def insert(content: bytes, draw: random.Random) -> bytes:
    """A byte too many in the middle: a blank in JSON may mean nothing."""
    position = draw.randrange(len(content))
    return content[:position] + draw.choice([b" ", b"\n", draw.randbytes(1)]) + content[position:]


def damages(
    folder: Path, manifest: str, *, seed: int, count: int, kinds: list[Callable[[bytes, random.Random], bytes]]
) -> list[tuple[str, bytes]]:
    """Names of files with a content that is not what was written; a fifth of them manifests."""
    draw = random.Random(seed)
    contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.stat().st_size}
    found: list[tuple[str, bytes]] = []
    while len(found) < count:
        name = manifest if draw.random() < 0.2 else draw.choice(list(contents))
        damaged = draw.choice(kinds)(contents[name], draw)
        if damaged != contents[name]:
            found.append((name, damaged))
    return found


def undetected(folder: Path, damaged: list[tuple[str, bytes]], load: Callable[[], object]) -> list[str]:
    """The damages that loading does not find; whatever else it raises comes up."""
    missed = []
    for name, content in damaged:
        path = folder / name
        before = path.read_bytes()
        path.write_bytes(content)
        try:
            load()
        except (CheckpointError, DataError):
            pass
        else:
            missed.append(f"{name}: {len(before)} bytes became {len(content)}")
        path.write_bytes(before)
    load()  # the folder is as it was, and is loaded
    return missed


def load_data_bin(folder: Path) -> None:
    """Open a data-bin folder, both splits."""
    task = build_task(TranslationConfig(data=str(folder)))
    task.setup()
    for split in ("train", "valid"):
        task.dataset(split)


@pytest.mark.parametrize(
    ("kinds", "whole"),
    [([flip_bit, truncate], NUM_CORRUPTIONS), ([zero_page, append, insert], NUM_OTHERS)],
    ids=["flips and truncations", "other damage"],
)
@pytest.mark.parametrize("what", ["checkpoint", "data-bin"])
def test_every_damage_is_found_and_nothing_of_it_is_loaded(
    what: str,
    kinds: list[Callable[[bytes, random.Random], bytes]],
    whole: int,
    request: pytest.FixtureRequest,
    size: Size,
    figures: Figures,
) -> None:
    folder: Path = request.getfixturevalue("checkpoint" if what == "checkpoint" else "data_bin")
    manifest = MANIFEST if what == "checkpoint" else "dataset.json"
    damaged = damages(folder, manifest, seed=len(kinds), count=size.of(whole, 20), kinds=kinds)
    missed = undetected(
        folder, damaged, lambda: load_trained(folder) if what == "checkpoint" else load_data_bin(folder)
    )
    fault = f"{'Flipped bits and truncations' if flip_bit in kinds else 'Other damage'}: {what}"
    figures.count(fault, "damaged files", len(damaged))
    figures.count(fault, "of them the manifest", sum(name == manifest for name, _ in damaged))
    figures.count(fault, "that were not found", len(missed))
    assert missed == []


def test_a_file_that_is_missing_or_another_ones_is_found(checkpoint: Path, data_bin: Path, figures: Figures) -> None:
    fault, missed = "Files removed, or exchanged with another", list[str]()
    for folder, load in ((checkpoint, load_trained), (data_bin, load_data_bin)):
        names = sorted(path.name for path in folder.iterdir() if path.name != "dataset.json")
        for name, other in zip(names, [*names[1:], names[0]], strict=True):
            for content in (None, (folder / other).read_bytes()):
                before = (folder / name).read_bytes()
                if content == before:
                    continue
                (folder / name).unlink()
                if content is not None:
                    (folder / name).write_bytes(content)
                if not _is_refused(partial(load, folder)):
                    missed.append(f"{name} of {folder.name}")
                (folder / name).write_bytes(before)
                figures.count(fault, "files")
    figures.count(fault, "that were not found", len(missed))
    assert missed == []


def test_every_bit_of_a_foreign_index_is_checked(tmp_path: Path, figures: Figures) -> None:
    fault, missed = "Structural faults of a foreign index", list[str]()
    prefix = write_indexed(tmp_path)
    load = partial(open_indexed, prefix, vocabulary_size=7)
    for position in range(8 * len(IDX)):
        damaged = bytearray(IDX)
        damaged[position // 8] ^= 1 << position % 8
        write_indexed(tmp_path, idx=bytes(damaged))
        if not _is_refused(load):
            missed.append(f"bit {position}")
        figures.count(fault, "flipped bits of the index")
    for suffix, content in ((".idx", IDX), (".bin", BIN)):
        for length in range(len(content)):
            write_indexed(tmp_path)
            prefix.with_suffix(suffix).write_bytes(content[:length])
            if not _is_refused(load):
                missed.append(f"{suffix} cut to {length} bytes")
            figures.count(fault, "truncations of either file")
    figures.count(fault, "that were not found", len(missed))
    assert missed == []


def _is_refused(load: Callable[[], object]) -> bool:
    try:
        load()
    except (CheckpointError, DataError):
        return True
    return False


def test_a_damaged_checkpoint_is_passed_over_and_said_without_a_traceback(run: Path) -> None:
    from seqtrain.training.keeper import CheckpointKeeper, KeepPolicy

    keeper = CheckpointKeeper(run / "checkpoints", KeepPolicy(keep_last=2, keep_best=1, maximize=False))
    newest, older = sorted((path for path in (run / "checkpoints").glob("update_*")), reverse=True)
    with (newest / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    intact = keeper.newest_intact()
    assert intact is not None
    assert intact.folder.name == older.name
    (older / MANIFEST).write_text("{}", encoding="utf-8")
    with pytest.raises(SeqtrainError, match="every checkpoint of the run is damaged"):
        keeper.newest_intact()
