"""What is shown of a row."""

from __future__ import annotations

import logging

import pytest

from seqtrain.config import root
from seqtrain.training.progress import Display, PlainDisplay, RichDisplay, format_row, make_display

ROW = {"split": "train", "epoch": 1, "update": 50, "loss": 9.31234, "tokens_per_second": 12345.6, "bleu": None}


def test_a_row_is_one_line() -> None:
    assert format_row(ROW) == "train | epoch 1 | update 50 | loss 9.312 | tokens per second 12,346"


def test_a_plain_display_logs_a_line_a_row(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="seqtrain")
    PlainDisplay().show(ROW)
    assert caplog.messages == ["train | epoch 1 | update 50 | loss 9.312 | tokens per second 12,346"]


@pytest.mark.parametrize(
    ("progress", "kind"), [("none", Display), ("plain", PlainDisplay), ("rich", RichDisplay), ("auto", PlainDisplay)]
)
def test_the_display_is_the_one_asked_for_and_plain_where_there_is_no_terminal(
    progress: str, kind: type[Display]
) -> None:
    assert type(make_display(root.Progress[progress], 10)) is kind


def test_what_is_rare_is_shown_where_there_is_any() -> None:
    assert format_row({"split": "train", "num_skipped": 0, "num_loss_spikes": 2}) == "train | num loss spikes 2"
