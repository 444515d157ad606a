"""`python -m seqtrain.verify` finds what does not resume, checkpoints that are damaged, and what is in a corpus."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from seqtrain.nn.native.build import find_compiler
from seqtrain.verification.resume import NOT_REPEATABLE, NOT_SAVED, OTHER_BATCHES
from tests.system.runs import start

pytestmark = pytest.mark.slow

TINY = (
    "experiment=demo",
    *(f"model.{side}_embed_dim=16" for side in ("encoder", "decoder")),
    *(f"model.{side}_ffn_embed_dim=32" for side in ("encoder", "decoder")),
    "batching.max_tokens=128",
    "training.precision=fp32",
    "training.num_threads=1",
    "validation.interval_updates=null",
)
BROKEN = f"hydra.searchpath=[file://{Path(__file__).parent / 'broken_plugins'}]"
DEMO = ("task.data=demo:numbers", "task.source_lang=en", "task.target_lang=de", "task.vocab_size=200")


def verify_resume(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return start("verify", "resume", "--updates", "12", "--kill-at", "4", *TINY, *arguments, cwd=folder)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two runs of which one was killed."""
    folder = tmp_path_factory.mktemp("verify")
    done = verify_resume(folder, "--keep", "runs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("exact: ")
    assert "DIFFERS" not in done.stdout
    assert "update 1 to 12" in done.stdout
    return folder / "runs"


def test_a_run_that_was_stopped_by_a_signal_is_exact(tmp_path: Path) -> None:
    done = verify_resume(tmp_path, "--signal", "term")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
def test_a_run_with_compiled_kernels_is_exact(tmp_path: Path) -> None:
    heads = (f"model.{side}_attention_heads=1" for side in ("encoder", "decoder"))
    done = verify_resume(tmp_path, "training.compile=always", "training.num_threads=2", *heads)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("exact: ")


@pytest.mark.parametrize(
    ("overrides", "verdict"),
    [
        (["optimizer=forgetful", "optimizer.lr=0.1"], NOT_SAVED),
        (["task=restless", *DEMO], NOT_REPEATABLE),
        (["task=beginner", *DEMO], OTHER_BATCHES),
    ],
    ids=["optimizer state that is not saved", "an order that the clock decides", "a position that is passed over"],
)
def test_a_plugin_that_does_not_resume_is_found(tmp_path: Path, overrides: Sequence[str], verdict: str) -> None:
    done = verify_resume(tmp_path, BROKEN, *overrides)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == verdict
    assert "--keep DIR keeps both run folders" in done.stderr


def test_a_mistake_in_the_config_is_told_as_the_run_tells_it(tmp_path: Path) -> None:
    done = verify_resume(tmp_path, "model.typo=1")
    assert done.returncode == 2
    assert "model.typo is no key of TransformerConfig" in done.stderr


def test_the_checkpoints_of_a_run_are_good_until_a_bit_flips(kept: Path) -> None:
    run = kept / "whole"
    done = start("verify", "checkpoint", str(run), cwd=kept)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "3 of 3 checkpoints are good"
    damaged = run / "checkpoints" / "update_00000004" / "optimizer.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    done = start("verify", "checkpoint", str(run), cwd=kept)
    assert done.returncode == 2
    assert "altered: another checksum" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 of 3 checkpoints are good"


def test_the_demo_corpus_has_no_faults(tmp_path: Path) -> None:
    done = start("verify", "data", "demo:numbers", "task=numbers", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [split["name"] for split in report["splits"]] == ["train", "valid", "test"]
    assert [split["sides"][0]["num_lines"] for split in report["splits"]] == [30_000, 500, 1_000]
    for split in report["splits"]:
        assert split["pairs"]["num_duplicates"] == split["pairs"]["num_copies"] == 0
        assert split["batches"]["filtered"] == {}
    assert report["splits"][2]["overlap"] == {"lines": {"en": 0, "de": 0}, "pairs": 0}


def test_a_folder_without_text_is_one_clear_error(tmp_path: Path) -> None:
    done = start("verify", "data", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "seqtrain: error: task.data=nowhere: there is no such folder\n"
