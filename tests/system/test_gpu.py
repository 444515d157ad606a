"""On a GPU too, a run that was stopped goes on to the same bits, however its kernels are made and sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.runs import SMALL, rows, start, weights

pytestmark = [pytest.mark.slow, pytest.mark.gpu]

GPU = (*SMALL, "training.device=cuda", "training.precision=bf16", "training.deterministic=true", "hydra.run.dir=run")


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("batching.form=packed",),
        ("batching.form=packed", "training.cuda_graphs=always"),
        ("batching.form=packed", "training.compile=always"),
        ("training.compile=always",),
    ],
    ids=["padded", "packed", "recorded", "packed, compiled", "padded, compiled"],
)
def test_a_run_on_a_gpu_goes_on_to_the_same_bits(settings: tuple[str, ...], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder, limits in ((whole, (40,)), (parts, (17, 40))):
        folder.mkdir()
        for limit in limits:
            result = start("train", *GPU, *settings, f"training.max_updates={limit}", cwd=folder)
            assert result.returncode == 0, result.stderr
    assert weights(parts / "run") == weights(whole / "run")
    assert rows(parts / "run", "valid")[-1] == rows(whole / "run", "valid")[-1]
