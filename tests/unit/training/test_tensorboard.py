"""Rows for TensorBoard, and the error that names the extra."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seqtrain.errors import ConfigError
from seqtrain.training.tensorboard import TensorBoardWriter


def test_without_the_package_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError) as caught:
        TensorBoardWriter(tmp_path)
    assert caught.value.remedy == "pip install 'seqtrain[tensorboard]'"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_numbers_of_a_row_are_written_at_its_update(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    TensorBoardWriter(tmp_path).append({"split": "valid", "epoch": 1, "update": 7, "loss": 2.5})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["valid/loss"]
    assert [(event.step, event.value) for event in events.Scalars("valid/loss")] == [(7, 2.5)]
