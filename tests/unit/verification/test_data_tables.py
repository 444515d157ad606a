"""The report as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqtrain.verification.data_tables import print_report
from tests.unit.tasks.corpus import make_task, write
from tests.unit.verification.test_data import report_on

EXPECTED = """
FOLDER (text; en: whitespace, 8 symbols; de: whitespace, 16 symbols)
  split  side  lines  tokens      unknown  mean length  median  95 %  99 %  longest
  train  en        2       5            0          2.5       2     3     3        3
  train  de        2       8            0          4.0       3     5     5        5
  valid  en        1       2            0          2.0       2     2     2        2
  valid  de        1       2  1 (50.00 %)          2.0       2     2     2        2

Lines that may be faults
  split  side  empty  duplicates  U+FFFD  control characters
  train  en        0           0       0                   0
  train  de        0           0       0                   1
  valid  en        0           0       0                   0
  valid  de        0           0       0                   0

Pairs
  split  pairs  duplicates  source = target  median length ratio  uneven
  train      2           0                0                 0.60       0
  valid      1           0                0                 1.00       0

Lines and pairs that are in train as well
  split  side   in train     share
  valid  en            1  100.00 %
  valid  de            0    0.00 %
  valid  pairs         0    0.00 %

Batches of one process
  split  examples  batches  padding of the sources  padding of the targets
  train         2        1                 16.67 %                 20.00 %
  valid         1        1                  0.00 %                  0.00 %

Lines to look at
  split  side  line  what               text
  train  en       1  longest: 3 tokens  a b
  train  de       1  longest: 5 tokens  x y a b
  train  de       2  control character  c\\x1bd b
  valid  en       1  longest: 2 tokens  a
  valid  de       1  longest: 2 tokens  z
  valid  en       1  in train           a
"""


def test_tables_have_a_line_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    write(folder, "train", ["a b", "a"], ["x y a b", "c\x1bd b"])
    write(folder, "valid", ["a"], ["z"])
    print_report(report_on(make_task(folder, joined_vocabulary=False), num_shown=1))
    assert capsys.readouterr().out.replace(str(folder), "FOLDER") == EXPECTED
