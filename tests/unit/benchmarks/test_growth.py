"""The data and the tables of `benchmarks.growth`, and the table of `benchmarks.start_speed`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.growth import LONGEST, Figures, growth_table, write_data
from benchmarks.harness.contest import Block, Rounds
from benchmarks.start_speed import BARE, CONFIG, times_table
from seqtrain.data.databin import open_tokens
from seqtrain.data.vocabulary import Vocabulary


def test_each_example_is_a_few_tokens_and_the_end_symbol(tmp_path: Path) -> None:
    write_data(tmp_path, 50, 100)
    assert len(Vocabulary.load(tmp_path / "dict.a.txt")) == 100
    for language in ("a", "b"):
        table = open_tokens(tmp_path / f"train.a-b.{language}", 100)
        lengths = table.lengths_of(slice(0, 50))
        assert len(table) == 50
        assert lengths.min() >= 2
        assert lengths.max() <= LONGEST
        assert (table.tokens == Vocabulary.eos).sum() == 50


def test_a_line_tells_by_what_factor_it_exceeds_the_one_before() -> None:
    figures = [Figures(10, 5, 2.0, 1.0, 0.010, 100e6, 50e6), Figures(100, 5, 3.0, 1.0, 0.010, 400e6, 60e6)]
    assert growth_table("examples", (10, 100), figures).splitlines()[2:] == [
        "| 10 | 2.0 |  | 1.0 |  | 10.0 |  | 100 |  | 50 |  |",
        "| 100 | 3.0 | 1.50 | 1.0 | 1.00 | 10.0 | 1.00 | 400 | 4.00 | 60 | 1.20 |",
    ]


def test_starts_are_told_in_milliseconds_and_as_multiples_of_the_bare_application() -> None:
    rounds = Rounds({BARE: [Block(0.2, 0.2, 1), Block(0.4, 0.4, 1)], CONFIG: [Block(0.5, 0.5, 1), Block(0.7, 0.7, 1)]})
    assert times_table(rounds).splitlines()[2:] == [
        f"| {BARE} | 300 | 200 | 1.00 |",
        f"| {CONFIG} | 600 | 500 | 2.00 |",
    ]
